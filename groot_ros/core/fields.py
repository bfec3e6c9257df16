"""Reads the JSON files of a checkpoint key by key, so that every mistake names file and key."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

_REQUIRED: Any = object()


class CheckpointError(ValueError):
    """A checkpoint cannot be used; the message is one line naming the file and the key."""


def unreadable(path: Path, error: OSError) -> CheckpointError:
    """The error to raise for a file or directory that is there and may not be read."""
    closed = next((p for p in reversed(path.parents) if not os.access(p, os.X_OK)), path)
    mend = {
        PermissionError: f"; let this user read it: chmod u+rX {closed}, as its owner",
        IsADirectoryError: "; a file is expected there",
    }.get(type(error), "")
    return CheckpointError(f"{path}: cannot be read: {error.strerror or error}{mend}")


class Fields:
    """One mapping of a JSON file; keys that nobody asks for are ignored."""

    def __init__(self, value: Any, where: str) -> None:
        if not isinstance(value, Mapping):
            raise CheckpointError(f"{where}: must be a mapping of keys, not {value!r:.60}")
        self.value = value
        self.where = where

    @classmethod
    def read(cls, path: Path) -> "Fields":
        """Parse a JSON file; raises CheckpointError when it is absent or malformed."""
        try:
            return cls(json.loads(path.read_text(encoding="utf-8")), str(path))
        except FileNotFoundError:
            raise CheckpointError(f"{path}: no such file") from None
        except OSError as error:
            raise unreadable(path, error) from error
        except CheckpointError:
            raise
        except ValueError as error:  # also of a number with thousands of digits
            raise CheckpointError(f"{path}: is not valid JSON: {error}") from error
        except RecursionError:
            raise CheckpointError(f"{path}: is not valid JSON: nested too deeply") from None

    def error(self, key: str, problem: str) -> CheckpointError:
        """The error to raise for one key of this mapping."""
        return CheckpointError(f"{self.where}: '{key}' {problem}")

    def has(self, key: str) -> bool:
        """Whether the key is given and not null."""
        return self.value.get(key) is not None

    def get(self, key: str, default: Any = _REQUIRED) -> Any:
        """The raw value; null counts as absent; absent without a default is an error."""
        value = self.value.get(key)
        if value is not None:
            return value
        if default is _REQUIRED:
            raise self.error(key, "is missing")
        return default

    def integer(
        self, key: str, default: Any = _REQUIRED, *, at_least: int = 0, at_most: int | None = None
    ) -> int:
        """A whole number >= at_least, and <= at_most where there is one."""
        value = self.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int) or value < at_least:
            raise self.error(key, f"must be a whole number >= {at_least}, not {value!r:.60}")
        if at_most is not None and value > at_most:
            raise self.error(key, f"must be at most {at_most}, not {value!r:.60}")
        return value

    def number(self, key: str, default: Any = _REQUIRED) -> float:
        """Any real number."""
        value = self.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.error(key, f"must be a number, not {value!r:.60}")
        try:
            return float(value)
        except OverflowError:
            raise self.error(key, f"is larger than any number here: {value!r:.30}...") from None

    def flag(self, key: str, default: Any = _REQUIRED) -> bool:
        """True or false."""
        value = self.get(key, default)
        if not isinstance(value, bool):
            raise self.error(key, f"must be true or false, not {value!r:.60}")
        return value

    def text(self, key: str, default: Any = _REQUIRED) -> str:
        """A string."""
        value = self.get(key, default)
        if not isinstance(value, str):
            raise self.error(key, f"must be a string, not {value!r:.60}")
        return value

    def items(self, key: str, kind: type, default: Any = _REQUIRED) -> tuple[Any, ...]:
        """A list whose entries are all of one kind."""
        value = self.get(key, default)
        if (
            not isinstance(value, Sequence)
            or isinstance(value, str)
            or not all(isinstance(entry, kind) for entry in value)
        ):
            raise self.error(key, f"must be a list of {kind.__name__}, not {value!r:.60}")
        return tuple(value)

    def section(self, key: str, default: Any = _REQUIRED) -> "Fields":
        """A nested mapping."""
        value = self.get(key, default)
        if not isinstance(value, Mapping):
            raise self.error(key, f"must be a mapping, not {value!r:.60}")
        return Fields(
            value, f"{self.where}: {key}" if ": " not in self.where else f"{self.where}.{key}"
        )

    def expect(self, key: str, value: Any, default: Any) -> None:
        """Refuse any other value than the only one that is supported."""
        given = self.value.get(key, default)
        if given != value:
            raise self.error(key, f"is {given!r:.60}, only {value!r} is supported")
