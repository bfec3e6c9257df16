# SPDX-License-Identifier: Apache-2.0
"""Read a dataclass from a configuration file: its fields state type, default and range."""

import dataclasses
import types
import typing
from collections.abc import Mapping
from typing import Any, Literal, TypeVar

from groot_ros.core.config_reader import REQUIRED, Fields

T = TypeVar("T")


def bounded(
    default: Any = dataclasses.MISSING,
    *,
    at_least: float | None = None,
    at_most: float | None = None,
    above: float | None = None,
    key: str | None = None,
) -> Any:
    """Declare a dataclass field whose range `read_dataclass` checks.

    Args:
        default: value of an absent key; without it the key is required.
        at_least: smallest valid value.
        at_most: largest valid value.
        above: the value must be greater than this.
        key: name in the file, where it differs from the field's.

    """
    limits = {"at_least": at_least, "at_most": at_most, "above": above, "key": key}
    given = {name: value for name, value in limits.items() if value is not None}
    return dataclasses.field(default=default, metadata=given)


def read_dataclass(
    fields: Fields, cls: type[T], *, defaults: Mapping[str, Any] | None = None, **given: Any
) -> T:
    """Build a dataclass from a mapping whose keys are the names of its fields.

    The type of a field determines how its key is read: int (>= 0 unless `bounded`), float, bool,
    str, Literal of strings, tuple[int | float | bool | str, ...], a nested dataclass, or one of
    these `| None`. `Fields.finish` rejects keys without a field.

    Args:
        fields: the mapping to read.
        cls: the dataclass; its defaults and `bounded` ranges apply.
        defaults: field -> default that replaces the dataclass's; REQUIRED makes a key mandatory.
        **given: field -> value for fields that are not read from the mapping.

    """
    defaults = defaults or {}
    hints = typing.get_type_hints(cls)
    values = dict(given)
    for field in dataclasses.fields(cls):  # type: ignore[arg-type]
        if field.name in values or not field.init:
            continue
        default = defaults.get(field.name, _default(field))
        key = field.metadata.get("key", field.name)
        values[field.name] = _read(fields, key, hints[field.name], field.metadata, default)
    return cls(**values)


def _read(fields: Fields, key: str, hint: Any, metadata: Mapping[str, Any], default: Any) -> Any:
    """Read one key as the type of its dataclass field says."""
    alternatives = [a for a in typing.get_args(hint) if a is not types.NoneType]
    is_union = typing.get_origin(hint) in (types.UnionType, typing.Union)
    if is_union and len(alternatives) == 1:
        hint = alternatives[0]
    if default is not REQUIRED and not fields.has(key):
        return default
    range_ = {name: value for name, value in metadata.items() if name != "key"}
    if hint is bool:
        return fields.flag(key)
    if hint is int:
        return fields.integer(key, **range_)
    if hint is float:
        return fields.number(key, **range_)
    if hint is str:
        return fields.text(key)
    if typing.get_origin(hint) is Literal:
        return fields.choice(key, typing.get_args(hint))
    if typing.get_origin(hint) is tuple and typing.get_args(hint)[1:] == (...,):
        return fields.items(key, typing.get_args(hint)[0])
    if dataclasses.is_dataclass(hint):
        return read_dataclass(fields.section(key), typing.cast(type, hint))
    raise TypeError(f"field '{key}': a value of type {hint} cannot be read from a file")


def _default(field: "dataclasses.Field[Any]") -> Any:
    if field.default is not dataclasses.MISSING:
        return field.default
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return REQUIRED
