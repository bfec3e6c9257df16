# SPDX-License-Identifier: Apache-2.0
"""Configuration dataclasses: each field declares its default, range, unit and description once.

    @dataclass(frozen=True)
    class CameraConfig:
        rate: float = parameter(30.0, "Frames per second", unit="Hz", minimum=1.0, maximum=120.0)

        def __post_init__(self) -> None:
            check(self)

ROS parameters (`bridge.parameters`), their page in the documentation (`bridge.parameter_docs`) and
options of the command line (`cli.config_options`) are derived from such a class.
"""

import math
import pkgutil
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

from groot_ros.core.config_reader import ConfigError, Fields

Value: TypeAlias = bool | int | float | str | tuple[str, ...]

C = TypeVar("C")

_METADATA = "parameter"
_TYPES = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a string",
    tuple: "a list of strings",
}


@dataclass(frozen=True)
class Parameter:
    """Declaration of one field of a configuration.

    Attributes:
        default: default value; its type is the parameter's type.
        description: one line for users, without a full stop.
        unit: empty for a number without one.
        minimum, maximum: inclusive bounds of a number; None: unbounded.
        choices: allowed values; empty: any.
        live: True if the value may change while the node is configured.
        exposed: True if it is a ROS parameter; users of the node cannot set the others.
        name: name of the ROS parameter.
        field_name: name of the dataclass field.
        former_name: old name that is accepted for one version, with a warning; empty: none.
        former_choices: old value -> new value; accepted for one version, with a warning.

    """

    default: Value
    description: str
    unit: str = ""
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()
    live: bool = False
    exposed: bool = True
    name: str = ""
    field_name: str = ""
    former_name: str = ""
    former_choices: Mapping[str, str] = field(default_factory=dict)

    def parsed(self, value: Any) -> Any:
        """Return the value in the parameter's type where it can be converted without loss.

        YAML reads an unquoted `off` as false, and 1 as an integer where a float is expected.
        """
        if value is False and "off" in self.choices:
            return "off"
        if isinstance(self.default, float) and type(value) is int:
            return float(value)
        if isinstance(self.default, tuple) and isinstance(value, list | tuple):
            return tuple(entry for entry in value if entry != "")
        if isinstance(value, str):
            return self.former_choices.get(value, value)
        return value

    def problem(self, value: Any) -> str:
        """Return why the value is invalid, or an empty string."""
        if self.choices:
            if value not in self.choices:
                return f"{self.name} must be one of {', '.join(self.choices)}, not '{value}'"
            return ""
        if not self._has_type(value):
            return f"{self.name} must be {self.type_name}, not {value!r}"
        if isinstance(value, int | float) and not isinstance(value, bool):
            if self.minimum is not None and not value >= self.minimum:
                return f"{self.name} must be at least {self.minimum:g}, not {value:g}"
            if self.maximum is not None and not value <= self.maximum:
                return f"{self.name} must be at most {self.maximum:g}, not {value:g}"
            if not math.isfinite(value):
                return f"{self.name} must be finite, not {value:g}"
        return ""

    def rename_warning(self, value: Any) -> str:
        """Return a warning if the value is one of an earlier version, or an empty string."""
        new = self.former_choices.get(value) if isinstance(value, str) else None
        return f"{self.name}: '{value}' is now called '{new}'; please rename it" if new else ""

    @property
    def type_name(self) -> str:
        """Return the type as text for messages."""
        return _TYPES[type(self.default)]

    def _has_type(self, value: Any) -> bool:
        if isinstance(value, bool):
            return isinstance(self.default, bool)
        if isinstance(value, tuple):
            return isinstance(self.default, tuple) and all(isinstance(v, str) for v in value)
        return isinstance(value, type(self.default))


def parameter(
    default: Value,
    description: str,
    *,
    unit: str = "",
    minimum: float | None = None,
    maximum: float | None = None,
    choices: tuple[str, ...] = (),
    live: bool = False,
    exposed: bool = True,
    name: str = "",
    former_name: str = "",
    former_choices: Mapping[str, str] | None = None,
) -> Any:
    """Declare a field of a configuration dataclass; the arguments are described in `Parameter`."""
    declared = Parameter(
        default,
        description,
        unit,
        minimum,
        maximum,
        choices,
        live,
        exposed,
        name,
        former_name=former_name,
        former_choices=former_choices or {},
    )
    return field(default=default, metadata={_METADATA: declared})


def parameters_of(config: Any) -> tuple[Parameter, ...]:
    """Return the declarations of a configuration class or instance, in the order of its fields."""
    return tuple(
        replace(f.metadata[_METADATA], field_name=f.name, name=f.metadata[_METADATA].name or f.name)
        for f in fields(config)
        if _METADATA in f.metadata
    )


def check(config: Any) -> None:
    """Parse and check every field of a new instance; call it in `__post_init__`.

    Raises:
        ValueError: one line naming the parameter and its range.

    """
    for declared in parameters_of(config):
        value = declared.parsed(getattr(config, declared.field_name))
        if problem := declared.problem(value):
            raise ValueError(problem)
        object.__setattr__(config, declared.field_name, value)


def config_from_file(path: Path, node: str, config_type: type[C]) -> C:
    """Read a file of ROS parameters and return the configuration that a node would have with it.

    Sections whose name ends in the node's name or a wildcard apply, later ones first; names of an
    earlier version are accepted, and parameters of other nodes ignored.

    Raises:
        ConfigError: the file cannot be read, or a value is out of range; names file and parameter.

    """
    root = Fields.read(path, syntax="yaml", error_type=ConfigError)
    declared = {p.name: p.field_name for p in parameters_of(config_type)}
    declared |= {p.former_name: p.field_name for p in parameters_of(config_type) if p.former_name}
    values: dict[str, Any] = {}
    for name in root.value:
        if str(name).rpartition("/")[2] in (node, "*", "**"):
            given = _flat(root.section(name).section("ros__parameters").value)
            values |= {declared[key]: value for key, value in given.items() if key in declared}
    try:
        return config_type(**values)
    except ValueError as error:
        raise ConfigError(f"{path}: {error}") from error


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested parameters under their names with dots."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        nested = isinstance(value, Mapping)
        found |= _flat(value, f"{prefix}{key}.") if nested else {f"{prefix}{key}": value}
    return found


@cache
def module_names(folder: str) -> tuple[str, ...]:
    """Return the names of the modules in a folder of this package.

    They serve as choices of a parameter. The modules are not imported, as engines need torch and
    controllers need ROS.

    Args:
        folder: relative to the package, such as "runtime/engines".

    """
    path = Path(__file__).parents[1] / folder
    return tuple(sorted(module.name for module in pkgutil.iter_modules([str(path)])))
