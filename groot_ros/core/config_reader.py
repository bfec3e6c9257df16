# SPDX-License-Identifier: Apache-2.0
"""Configuration reader for JSON and YAML: every error names the file, the key and the problem.

`Fields` reads one mapping key by key; `dataclass_reader.read_dataclass` does so for all fields of a
dataclass. Neither pydantic nor msgspec replaces them: both report errors per schema node, without
the name of the file, the line of a duplicate key or the list of known keys, and `core` depends on
numpy only.
"""

import functools
import json
import math
import os
import re
import sys
from collections import Counter
from collections.abc import Hashable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

from groot_ros.core.printable import MAX_MESSAGE, printable

Word = TypeVar("Word", bound=str)

#: Default value that makes a key mandatory.
REQUIRED: Any = object()
#: Largest integer without its own limit; other libraries overflow soon above it.
MAX_INTEGER = 2**53
#: Largest YAML file: characters, keys and values, uses of anchors, and levels.
_MAX_YAML_SIZE, _MAX_YAML_VALUES, _MAX_YAML_ALIASES, _MAX_YAML_DEPTH = 1_000_000, 20_000, 200, 64


#: Words that YAML 1.1 reads as flags.
_WORDS = {"yes": "true", "on": "true", "y": "true", "no": "false", "off": "false", "n": "false"}


class ConfigError(ValueError):
    """A configuration file cannot be used; the message is one line naming file and key.

    Control characters that a file contains are escaped, and a long message is cut.
    """

    def __init__(self, message: str) -> None:
        super().__init__(printable(message, MAX_MESSAGE))


class CheckpointError(ConfigError):
    """A checkpoint cannot be used; the message is one line naming the file and the key."""


def is_lfs_pointer(content: str | bytes) -> bool:
    """Return whether a file begins as a Git LFS pointer, which `git clone` leaves without LFS."""
    head = content[:64].encode() if isinstance(content, str) else content
    return head.startswith(b"version https://git-lfs.github.com/spec/")


def unreadable(
    path: Path, error: OSError, error_type: type[ConfigError] = CheckpointError
) -> ConfigError:
    """Return the error to raise for a file or directory that exists but cannot be read."""
    closed = next((p for p in reversed(path.parents) if not os.access(p, os.X_OK)), path)
    advice = {
        PermissionError: f"; let this user read it: chmod u+rX {closed}, as its owner",
        IsADirectoryError: "; a file is expected there",
    }.get(type(error), "")
    return error_type(f"{path}: cannot be read: {error.strerror or error}{advice}")


class Fields:
    """One mapping of a JSON or YAML file, read key by key.

    Attributes:
        value: the parsed mapping.
        where: the file, and the path of keys to this mapping; every error starts with it.
        error_type: type of the exceptions raised.
        strict: True for files that people write (YAML): an empty value and a number that is not
            finite are errors. False for files that programs write (JSON): null means the default.

    """

    def __init__(
        self,
        value: Any,
        where: str,
        *,
        error_type: type[ConfigError] = CheckpointError,
        strict: bool = False,
    ) -> None:
        if not isinstance(value, Mapping):
            raise error_type(f"{where}: must be a mapping of keys, not {_shown(value)}")
        self.value = value
        self.where = where
        self.error_type = error_type
        self.strict = strict
        self._requested: set[str] = set()

    @classmethod
    def read(
        cls,
        path: Path,
        *,
        syntax: Literal["json", "yaml"] | None = None,
        error_type: type[ConfigError] = CheckpointError,
    ) -> "Fields":
        """Read a file: YAML if its name ends in .yaml or .yml or `syntax` says so, otherwise JSON.

        Raises:
            ConfigError: the file is missing, not readable or malformed, or contains a key twice.
                The exception has the type `error_type`.

        """
        syntax = syntax or ("yaml" if path.suffix in (".yaml", ".yml") else "json")
        try:
            # Reading a device or a FIFO might never end.
            if path.exists() and not path.is_file() and not path.is_dir():
                raise error_type(f"{path}: is a device, a pipe or a socket, not a file")
            if syntax == "yaml" and path.is_file() and path.stat().st_size > 4 * _MAX_YAML_SIZE:
                raise error_type(
                    f"{path}: is not valid YAML: {path.stat().st_size:,} bytes, at most "
                    f"{_MAX_YAML_SIZE:,} characters are read"
                )
            text = path.read_text(encoding="utf-8")
        except FileNotFoundError:
            raise error_type(f"{path}: no such file") from None
        except OSError as error:
            raise unreadable(path, error, error_type) from error
        except UnicodeDecodeError as error:
            raise error_type(f"{path}: is not a text file (UTF-8): {error.reason}") from error
        if is_lfs_pointer(text):
            raise error_type(
                f"{path}: is a Git LFS pointer, not the file itself: run git lfs pull in "
                f"{path.parent}"
            )
        return cls.parse(text, str(path), syntax=syntax, error_type=error_type)

    @classmethod
    def parse(
        cls,
        text: str | bytes,
        where: str,
        *,
        syntax: Literal["json", "yaml"] = "json",
        error_type: type[ConfigError] = CheckpointError,
    ) -> "Fields":
        """Parse the text of a file; raises `error_type` as `read` does."""
        load, name = (_load_yaml, "YAML") if syntax == "yaml" else (_load_json, "JSON")
        try:
            value = load(text)
        except ValueError as error:  # also for a number with thousands of digits
            raise error_type(f"{where}: is not valid {name}: {error}") from error
        except RecursionError:
            raise error_type(f"{where}: is not valid {name}: nested too deeply") from None
        return cls(value, where, error_type=error_type, strict=syntax == "yaml")

    @property
    def requested(self) -> tuple[str, ...]:
        """Return the keys that were asked for so far, given or not, sorted."""
        return tuple(sorted(self._requested))

    def error(self, key: str, problem: str) -> ConfigError:
        """Return the error to raise for one key of this mapping."""
        return self.error_type(f"{self.where}: '{key}' {problem}")

    def has(self, key: str) -> bool:
        """Return whether the key is given; null does not count unless `strict`."""
        self._requested.add(key)
        return key in self.value and (self.strict or self.value[key] is not None)

    def get(self, key: str, default: Any = REQUIRED) -> Any:
        """Return the value as parsed; an absent key without a default is an error."""
        if self.has(key):
            return self.value[key]
        if default is REQUIRED:
            raise self.error(key, "is missing")
        return default

    def integer(
        self, key: str, default: Any = REQUIRED, *, at_least: int = 0, at_most: int | None = None
    ) -> int:
        """Return a whole number >= at_least, and <= at_most if given."""
        value = self.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int) or value < at_least:
            raise self.error(key, f"must be a whole number >= {at_least}, not {_shown(value)}")
        limit = MAX_INTEGER if at_most is None else at_most
        if value > limit:
            raise self.error(key, f"must be at most {limit}, not {_shown(value)}")
        return value

    def number(
        self,
        key: str,
        default: Any = REQUIRED,
        *,
        above: float = -math.inf,
        at_least: float = -math.inf,
        at_most: float = math.inf,
    ) -> float:
        """Return a number > above, >= at_least and <= at_most; finite if `strict`."""
        value = self.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.error(key, f"must be a number, not {_shown(value)}")
        try:
            number = float(value)
        except OverflowError:
            raise self.error(key, f"is larger than any number here: {value!r:.30}...") from None
        if self.strict and not math.isfinite(number):
            raise self.error(key, f"must be finite, not {number}")
        if above > -math.inf and not number > above:
            raise self.error(key, f"must be greater than {above:g}, not {number:g}")
        if at_least > -math.inf and at_most < math.inf and not at_least <= number <= at_most:
            raise self.error(key, f"is {number:g}, out of range [{at_least:g}, {at_most:g}]")
        if at_least > -math.inf and not number >= at_least:
            raise self.error(key, f"must be at least {at_least:g}, not {number:g}")
        if at_most < math.inf and not number <= at_most:
            raise self.error(key, f"must be at most {at_most:g}, not {number:g}")
        return number

    def flag(self, key: str, default: Any = REQUIRED) -> bool:
        """Return true or false."""
        value = self.get(key, default)
        if not isinstance(value, bool):
            raise self.error(key, f"must be true or false, not {_shown(value)}")
        return value

    def text(self, key: str, default: Any = REQUIRED) -> str:
        """Return a string, which may be empty."""
        value = self.get(key, default)
        if not isinstance(value, str):
            raise self.error(key, f"must be a string, not {_shown(value)}")
        return value

    def name(self, key: str, default: Any = REQUIRED) -> str:
        """Return a string that is not empty."""
        value = self.get(key, default)
        if not isinstance(value, str) or not value:
            raise self.error(key, f"must be a non-empty string, not {_shown(value)}")
        return value

    def choice(self, key: str, choices: Sequence[Word], default: Any = REQUIRED) -> Word:
        """Return one of the given strings."""
        value = self.get(key, default)
        for choice in choices:
            if choice == value:
                return choice
        raise self.error(key, f"must be one of {', '.join(choices)}, not {_shown(value)}")

    def items(self, key: str, kind: type, default: Any = REQUIRED) -> tuple[Any, ...]:
        """Return a list whose entries are all of one type."""
        value = self.get(key, default)
        if (
            not isinstance(value, Sequence)
            or isinstance(value, str)
            or not all(isinstance(entry, kind) for entry in value)
        ):
            raise self.error(key, f"must be a list of {kind.__name__}, not {_shown(value)}")
        return tuple(value)

    def names(self, key: str, default: Any = REQUIRED) -> tuple[str, ...]:
        """Return a non-empty list of different non-empty strings."""
        value = self.get(key, default)
        if not isinstance(value, Sequence) or isinstance(value, str) or not value:
            raise self.error(key, f"must be a list of names, not {_shown(value)}")
        if not all(isinstance(entry, str) and entry for entry in value):
            raise self.error(key, f"must contain only non-empty strings, not {_shown(value)}")
        repeated = sorted({entry for entry in value if list(value).count(entry) > 1})
        if repeated:
            raise self.error(key, f"contains {', '.join(repeated)} more than once")
        return tuple(value)

    def interval(self, key: str) -> tuple[float, float]:
        """Return two finite numbers (low, high) with low < high."""
        value = self.get(key)
        if (
            not isinstance(value, Sequence)
            or isinstance(value, str)
            or len(value) != 2
            or not all(isinstance(end, int | float) and not isinstance(end, bool) for end in value)
            or not all(abs(end) <= sys.float_info.max for end in value)
        ):
            raise self.error(key, f"must be two numbers [low, high], not {_shown(value)}")
        low, high = float(value[0]), float(value[1])
        if low >= high:
            raise self.error(key, f"must be [low, high] with low < high, not {_shown(value)}")
        return low, high

    def section(self, key: str, default: Any = REQUIRED) -> "Fields":
        """Return a nested mapping."""
        return self._nested(key, self.get(key, default))

    def sections(self, key: str) -> Iterator[tuple[str, "Fields"]]:
        """Iterate over the names and sections of a non-empty mapping of mappings."""
        outer = self.section(key)
        if not outer.value:
            raise self.error(key, "must not be empty")
        for name in outer.value:
            if not isinstance(name, str) or not name:
                raise outer.error(str(name), "must be a name: put it in quotes")
            yield name, outer.section(name)

    def section_list(self, key: str) -> Iterator["Fields"]:
        """Iterate over a non-empty list of mappings."""
        value = self.get(key)
        if not isinstance(value, Sequence) or isinstance(value, str) or not value:
            raise self.error(key, f"must be a list with at least one entry, not {_shown(value)}")
        for index, entry in enumerate(value):
            yield self._nested(f"{key}[{index}]", entry)

    def expect(self, key: str, value: Any, default: Any) -> None:
        """Raise an error unless the key, or `default` if it is absent, has the supported value."""
        self._requested.add(key)
        given = self.value.get(key, default)
        if given != value:
            raise self.error(key, f"is {given!r:.60}, only {value!r} is supported")

    def finish(self) -> None:
        """Raise an error for keys that were never requested, so that typing errors are found."""
        unknown = sorted(str(key) for key in self.value if key not in self._requested)
        if unknown:
            known = ", ".join(self.requested)
            raise self.error(unknown[0], f"is not a key here (known: {known})")

    def _nested(self, key: str, value: Any) -> "Fields":
        if not isinstance(value, Mapping):
            raise self.error(key, f"must be a mapping of keys, not {_shown(value)}")
        where = f"{self.where}{'.' if ': ' in self.where else ': '}{key}"
        return Fields(value, where, error_type=self.error_type, strict=self.strict)


def _load_json(text: str | bytes) -> Any:
    return json.loads(text, object_pairs_hook=_distinct)


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Build a JSON object; json.loads alone would keep the last of two equal keys."""
    found = dict(pairs)
    if len(found) < len(pairs):
        repeated, _ = Counter(name for name, _ in pairs).most_common(1)[0]
        raise ValueError(f"key '{repeated}' is given twice")
    return found


def _load_yaml(text: str | bytes) -> Any:
    import yaml

    try:
        _check_yaml_size(text)
        return yaml.load(text, _yaml_loader())
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from error
    except (AttributeError, KeyError, TypeError) as error:
        # PyYAML converts the value of an explicit tag, such as !!bool, without a check.
        raise ValueError(f"a value does not fit its tag (!!...): {error!r:.60}") from error


def _check_yaml_size(text: str | bytes) -> None:
    """Raise ValueError for a text that would take long to parse or fill the memory.

    Each alias is a copy of its anchor once the file is read, so nested aliases grow exponentially.
    """
    import yaml

    if len(text) > _MAX_YAML_SIZE:
        raise ValueError(f"{len(text):,} characters, at most {_MAX_YAML_SIZE:,} are read")
    values = aliases = depth = 0
    for event in yaml.parse(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
        values += isinstance(event, yaml.ScalarEvent | yaml.CollectionStartEvent)
        aliases += isinstance(event, yaml.AliasEvent)
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > _MAX_YAML_DEPTH:
            raise ValueError("nested too deeply")
        if values > _MAX_YAML_VALUES or aliases > _MAX_YAML_ALIASES:
            raise ValueError(
                f"more than {_MAX_YAML_VALUES:,} values or {_MAX_YAML_ALIASES} aliases, which is "
                "no configuration"
            )


@functools.cache
def _yaml_loader() -> Any:
    """Return PyYAML's safe loader, made to reject a key that is given twice."""
    import yaml

    class DistinctKeysLoader(yaml.SafeLoader):
        def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
            _require_decimal(node)
            return int(super().construct_yaml_int(node))

        def construct_yaml_float(self, node: yaml.ScalarNode) -> float:
            _require_decimal(node)
            return float(super().construct_yaml_float(node))

        def construct_sequence(self, node: yaml.SequenceNode, deep: bool = False) -> list[Any]:
            for entry in node.value:
                _require_no_word_as_flag(entry)
            return list(super().construct_sequence(node, deep))

        def construct_mapping(
            self, node: yaml.MappingNode, deep: bool = False
        ) -> dict[Hashable, Any]:
            seen: set[Hashable] = set()
            for key_node, _ in node.value:
                if key_node.tag == "tag:yaml.org,2002:merge":
                    continue
                _require_no_word_as_flag(key_node)
                key = self.construct_object(key_node, deep=True)
                if not isinstance(key, Hashable):
                    continue
                if key in seen:
                    raise yaml.constructor.ConstructorError(
                        None, None, f"key '{key}' is given twice", key_node.start_mark
                    )
                seen.add(key)
            return super().construct_mapping(node, deep)

    for kind in ("int", "float"):
        DistinctKeysLoader.add_constructor(
            f"tag:yaml.org,2002:{kind}", getattr(DistinctKeysLoader, f"construct_yaml_{kind}")
        )
    return DistinctKeysLoader


def _require_decimal(node: Any) -> None:
    """Reject numbers of YAML 1.1 that people read otherwise: 1:30 is 90, and 010 is 8."""
    text = str(node.value)
    if ":" in text or re.fullmatch(r"[-+]?0[0-9_]+", text):
        raise ValueError(
            f"{_place(node)}: {text:.40} is a number in base {60 if ':' in text else 8} in YAML: "
            "write it as a decimal number, or as a text in quotes"
        )


def _require_no_word_as_flag(node: Any) -> None:
    """Reject a name, as a key or in a list, that YAML 1.1 reads as true or false."""
    if node.tag == "tag:yaml.org,2002:bool" and str(node.value).lower() not in ("true", "false"):
        raise ValueError(
            f"{_place(node)}: {node.value} means {_WORDS[str(node.value).lower()]} in YAML: "
            "put it in quotes if it is a name"
        )


def _place(node: Any) -> str:
    return f"line {node.start_mark.line + 1}, column {node.start_mark.column + 1}"


def _shown(value: Any) -> str:
    return "nothing" if value is None else f"{value!r:.60}"
