"""Reads a YAML mapping key by key, so that every mistake names its own key."""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

_REQUIRED = object()
_TOPIC_NAME = re.compile(r"/?[A-Za-z_]\w*(/[A-Za-z_]\w*)*", re.ASCII)


def is_topic_name(name: str) -> bool:
    """Whether it is a ROS topic name, absolute or relative."""
    return _TOPIC_NAME.fullmatch(name) is not None


class ContractError(ValueError):
    """The robot contract is wrong; the message names file, key and how to mend it."""


class Section:
    """One mapping of the contract; every key that is never asked for is an error."""

    def __init__(self, value: Any, where: str) -> None:
        if not isinstance(value, Mapping):
            name = where.removesuffix(":")
            raise ContractError(f"{name}: must be a mapping of keys, not {_shown(value)}")
        self._value = value
        self.where = where
        self._asked: set[str] = set()

    def error(self, key: str, problem: str) -> ContractError:
        """The error to raise for one key of this section."""
        return ContractError(f"{self.where}{_sep(self.where)}{key}: {problem}")

    def has(self, key: str) -> bool:
        """Whether the optional key is given."""
        self._asked.add(key)
        return key in self._value

    def get(self, key: str, default: Any = _REQUIRED) -> Any:
        """The raw value; a missing key without a default is an error."""
        self._asked.add(key)
        value = self._value.get(key, default)
        if value is _REQUIRED:
            raise self.error(key, "is missing")
        return value

    def text(self, key: str, default: Any = _REQUIRED, choices: Sequence[str] = ()) -> str:
        """A non-empty string, one of `choices` if there are any."""
        value = self.get(key, default)
        if not isinstance(value, str) or not value:
            raise self.error(key, f"must be a word, not {_shown(value)}")
        if choices and value not in choices:
            raise self.error(key, f"must be one of {', '.join(choices)}, not '{value}'")
        return value

    def topic(self, key: str, default: Any = _REQUIRED) -> str:
        """A ROS topic name, absolute or relative to the namespace of the robot."""
        value = self.text(key, default)
        if not is_topic_name(value):
            raise self.error(
                key,
                f"'{value}' is not a topic name: words of letters, digits and _, "
                "none beginning with a digit, joined by /",
            )
        return value

    def number(
        self,
        key: str,
        default: Any = _REQUIRED,
        *,
        above: float = -math.inf,
        at_least: float = -math.inf,
    ) -> float:
        """A finite number > above and >= at_least."""
        value = self.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.error(key, f"must be a number, not {_shown(value)}")
        if not math.isfinite(value):
            raise self.error(key, f"must be finite, not {value}")
        if value <= above:
            raise self.error(key, f"must be greater than {above:g}, not {value:g}")
        if value < at_least:
            raise self.error(key, f"must be at least {at_least:g}, not {value:g}")
        return float(value)

    def within(self, key: str, bounds: tuple[float, float], default: Any = _REQUIRED) -> float:
        """A number that can be a robot's: from the first to the second of `bounds`."""
        low, high = bounds
        value = self.number(key, default)
        if not low <= value <= high:
            raise self.error(key, f"{value:g} is no robot's, expected {low:g} to {high:g}")
        return value

    def interval(self, key: str) -> tuple[float, float]:
        """Two finite numbers [low, high], low < high."""
        value = self.get(key)
        if (
            not isinstance(value, Sequence)
            or isinstance(value, str)
            or len(value) != 2
            or not all(isinstance(v, int | float) and not isinstance(v, bool) for v in value)
            or not all(math.isfinite(v) for v in value)
        ):
            raise self.error(key, f"must be two numbers [low, high], not {_shown(value)}")
        low, high = float(value[0]), float(value[1])
        if low >= high:
            raise self.error(key, f"low must be below high, not {_shown(value)}")
        return low, high

    def names(self, key: str, default: Any = _REQUIRED) -> tuple[str, ...]:
        """A non-empty list of different words."""
        value = self.get(key, default)
        if not isinstance(value, Sequence) or isinstance(value, str) or not value:
            raise self.error(key, f"must be a list of names, not {_shown(value)}")
        if not all(isinstance(v, str) and v for v in value):
            raise self.error(key, f"must hold names only, not {_shown(value)}")
        repeated = sorted({v for v in value if list(value).count(v) > 1})
        if repeated:
            raise self.error(key, f"names {', '.join(repeated)} more than once")
        return tuple(value)

    def section(self, key: str, default: Any = _REQUIRED) -> "Section":
        """A nested mapping."""
        return Section(self.get(key, default), f"{self.where}{_sep(self.where)}{key}")

    def sections(self, key: str) -> Iterator[tuple[str, "Section"]]:
        """The entries of a non-empty mapping of mappings."""
        outer = self.section(key)
        if not outer._value:
            raise self.error(key, "must not be empty")
        for name in outer._value:
            if not isinstance(name, str) or not name:
                raise outer.error(str(name), "must be a name")
            yield name, outer.section(name)

    def items(self, key: str) -> Iterator["Section"]:
        """The entries of a non-empty list of mappings."""
        value = self.get(key)
        if not isinstance(value, Sequence) or isinstance(value, str) or not value:
            raise self.error(key, f"must be a list with at least one entry, not {_shown(value)}")
        for index, entry in enumerate(value):
            yield Section(entry, f"{self.where}{_sep(self.where)}{key}[{index}]")

    def finish(self) -> None:
        """Refuse keys that nothing read: a misspelt key must not be ignored silently."""
        unknown = sorted(str(k) for k in self._value if k not in self._asked)
        if unknown:
            known = ", ".join(sorted(self._asked))
            raise self.error(unknown[0], f"is not a key of the contract here (known: {known})")


def _sep(where: str) -> str:
    return " " if where.endswith(":") else "."


def _shown(value: Any) -> str:
    return "nothing" if value is None else repr(value)
