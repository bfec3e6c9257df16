"""The arrays of a golden set, which remember what was asked of them.

So that a verdict can tell what the set lacks, and what nobody looked at.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.torch import load_file

from golden.comparison import Comparison, compare


class BrokenSetError(ValueError):
    """A file of a set cannot be read, or lacks what the set exists for; one line."""


class Arrays(Mapping[str, Any]):
    """One file's arrays by name."""

    def __init__(self, path: Path, values: Mapping[str, Any]) -> None:
        self.path = path
        self._values = values
        self._read: set[str] = set()
        self.lacking: dict[str, None] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._values:
            raise BrokenSetError(f"{self.path.name} lacks '{name}', without which nothing is shown")
        self._read.add(name)
        return self._values[name]

    def __contains__(self, name: object) -> bool:
        return name in self._values

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    @property
    def unread(self) -> list[str]:
        """Names that nothing was compared with."""
        return [name for name in self._values if name not in self._read]

    def has(self, *names: str) -> bool:
        """Whether all are there; what is not counts as lacking from then on."""
        absent = [name for name in names if name not in self._values]
        self.lacking |= dict.fromkeys(absent)
        return not absent

    def optional(
        self,
        name: str,
        ours: Any,
        check: Callable[..., Comparison] = compare,
        label: str | None = None,
    ) -> Iterator[Comparison]:
        """Compared where the set has it, else told as lacking."""
        if self.has(name):
            yield check(label or name, ours, self[name])


class GoldenSet:
    """One folder, the files of it that were opened, and what was missing there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._files: list[Arrays] = []
        self._lacking: dict[str, None] = {}

    def tensors(self, name: str) -> Arrays:
        """Of a safetensors file."""
        return self._open(self.folder / name, load_file)

    def arrays(self, name: str) -> Arrays:
        """Of an npz file."""
        return self._open(self.folder / name, _load_npz)

    def json(self, name: str) -> Any:
        """A JSON file."""
        return _read(self.folder / name, lambda path: json.loads(path.read_text(encoding="utf-8")))

    def lacks(self, what: str) -> None:
        """Something beside the arrays that was not compared."""
        self._lacking[what] = None

    @property
    def lacking(self) -> dict[str, list[str]]:
        """File ("" where it is of none) -> what was not compared because the set lacks it."""
        found = {"": list(self._lacking)}
        found |= {file.path.name: list(file.lacking) for file in self._files}
        return {file: names for file, names in found.items() if names}

    @property
    def unread(self) -> dict[str, list[str]]:
        """File ("" for whole files) -> arrays that nothing was compared with."""
        opened = {file.path.name for file in self._files}
        others = [
            path.name
            for path in sorted(self.folder.iterdir())
            if path.suffix in (".safetensors", ".npz") and path.name not in opened
        ]
        found = {"": others} | {file.path.name: file.unread for file in self._files}
        return {file: names for file, names in found.items() if names}

    def _open(self, path: Path, load: Callable[[Path], Mapping[str, Any]]) -> Arrays:
        self._files.append(Arrays(path, _read(path, load)))
        return self._files[-1]


def summarise(found: Mapping[str, Iterable[str]]) -> str:
    """In one line, file by file; names that differ in their numbers as one: "step*.out (4)"."""
    return "; ".join(
        f"{file}: {_grouped(names)}" if file else _grouped(names) for file, names in found.items()
    )


def _grouped(names: Iterable[str]) -> str:
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(re.sub(r"\d+", "*", name), []).append(name)
    return ", ".join(
        found[0] if len(found) == 1 else f"{pattern} ({len(found)})"
        for pattern, found in groups.items()
    )


def _load_npz(path: Path) -> dict[str, Any]:
    with np.load(path) as file:
        return dict(file)


def _read(path: Path, load: Callable[[Path], Any]) -> Any:
    try:
        return load(path)
    except Exception as error:  # every library here has errors of its own for a broken file
        problem = " ".join(str(error).split()) or "it is empty"
        raise BrokenSetError(f"{path.name} cannot be read: {problem}") from error
