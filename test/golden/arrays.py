# SPDX-License-Identifier: Apache-2.0
"""Arrays of a golden set that record which of them were read, and which were missing."""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.torch import load_file

from golden.comparison import Comparison, compare


class BrokenSetError(ValueError):
    """A file of a set cannot be read, or lacks a required array; one line."""


class Arrays(Mapping[str, Any]):
    """Arrays of one file by name."""

    def __init__(self, path: Path, values: Mapping[str, Any]) -> None:
        self.path = path
        self._values = values
        self._read: set[str] = set()
        self.lacking: dict[str, None] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._values:
            raise BrokenSetError(f"{self.path.name} lacks '{name}', which is required")
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
        """Names of arrays that were never read."""
        return [name for name in self._values if name not in self._read]

    def has(self, *names: str) -> bool:
        """Tell whether all are present, and record those that are not."""
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
        """Compare with an array if the set has it, otherwise record that it is missing."""
        if self.has(name):
            yield check(label or name, ours, self[name])


class GoldenSet:
    """One folder, its opened files, and what is missing in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._files: list[Arrays] = []
        self._lacking: dict[str, None] = {}

    def tensors(self, name: str) -> Arrays:
        """Open a safetensors file."""
        return self._open(self.folder / name, load_file)

    def arrays(self, name: str) -> Arrays:
        """Open an npz file."""
        return self._open(self.folder / name, _load_npz)

    def json(self, name: str) -> Any:
        """Read a JSON file."""
        return _read(self.folder / name, lambda path: json.loads(path.read_text(encoding="utf-8")))

    def lacks(self, what: str) -> None:
        """Record that something other than an array is missing."""
        self._lacking[what] = None

    @property
    def lacking(self) -> dict[str, list[str]]:
        """File, or "" for what is in no file -> what was not compared as the set lacks it."""
        found = {"": list(self._lacking)}
        found |= {file.path.name: list(file.lacking) for file in self._files}
        return {file: names for file, names in found.items() if names}

    @property
    def unread(self) -> dict[str, list[str]]:
        """File, or "" for whole files -> arrays that were never read."""
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
    """Return one line, file by file; names that differ in numbers become "step*.out (4)"."""
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
    except Exception as error:  # each library raises different errors for a broken file
        problem = " ".join(str(error).split()) or "it is empty"
        raise BrokenSetError(f"{path.name} cannot be read: {problem}") from error
