# SPDX-License-Identifier: Apache-2.0
"""A dataclass is read from a mapping with the types, ranges and defaults of its fields."""

from dataclasses import dataclass, field
from typing import Literal

import pytest

from groot_ros.core.config_reader import REQUIRED, CheckpointError, Fields
from groot_ros.core.dataclass_reader import bounded, read_dataclass


@dataclass(frozen=True)
class Tower:
    width: int = bounded(at_least=1)
    rate: float = 0.1


@dataclass(frozen=True)
class Model:
    tower: Tower
    layers: int = bounded(12, at_least=1, at_most=64)
    eps: float = bounded(1e-5, above=0.0, key="norm_eps")
    kinds: tuple[int, ...] = (1, 2)
    names: tuple[str, ...] = ()
    act: Literal["gelu", "silu"] = "gelu"
    bias: bool = True
    title: str = ""
    edge: int | None = None
    extra: dict[str, int] = field(default_factory=dict)


def test_absent_keys_take_the_defaults_of_the_dataclass():
    found = read_dataclass(Fields({"tower": {"width": 3}}, "x"), Model)
    assert found == Model(Tower(3))


def test_every_type_is_read():
    value = {
        "tower": {"width": 3, "rate": 1},
        "layers": 2,
        "norm_eps": 1e-3,
        "kinds": [4],
        "names": ["a"],
        "act": "silu",
        "bias": False,
        "title": "t",
        "edge": 5,
    }
    found = read_dataclass(Fields(value, "x"), Model)
    assert found == Model(Tower(3, 1.0), 2, 1e-3, (4,), ("a",), "silu", False, "t", 5)
    assert isinstance(found.tower.rate, float)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"tower": {}}, "x: tower: 'width' is missing"),
        ({"tower": {"width": 0}}, "x: tower: 'width' must be a whole number >= 1, not 0"),
        ({"layers": 65}, "x: 'layers' must be at most 64, not 65"),
        ({"layers": 1.5}, "x: 'layers' must be a whole number >= 1, not 1.5"),
        ({"norm_eps": 0}, "x: 'norm_eps' must be greater than 0, not 0"),
        ({"kinds": ["a"]}, "x: 'kinds' must be a list of int, not ['a']"),
        ({"act": "relu"}, "x: 'act' must be one of gelu, silu, not 'relu'"),
        ({"bias": 1}, "x: 'bias' must be true or false, not 1"),
        ({"title": 1}, "x: 'title' must be a string, not 1"),
    ],
)
def test_an_error_names_the_key(change, problem):
    with pytest.raises(CheckpointError) as caught:
        read_dataclass(Fields({"tower": {"width": 3}, **change}, "x"), Model)
    assert str(caught.value) == problem


def test_the_file_may_have_other_defaults_than_the_dataclass():
    tower = Fields({"width": 3}, "x")
    assert read_dataclass(tower, Tower, defaults={"rate": 0.5}) == Tower(3, 0.5)
    with pytest.raises(CheckpointError, match="x: 'rate' is missing"):
        read_dataclass(tower, Tower, defaults={"rate": REQUIRED})


def test_a_field_that_is_given_is_not_read():
    found = read_dataclass(Fields({"layers": "?"}, "x"), Model, tower=Tower(1), layers=3)
    assert (found.tower, found.layers) == (Tower(1), 3)


def test_a_field_of_a_type_that_no_file_holds_is_a_programming_error():
    with pytest.raises(TypeError, match=r"field 'extra': a value of type .* cannot be read"):
        read_dataclass(Fields({"tower": {"width": 3}, "extra": {}}, "x"), Model)


def test_keys_that_are_no_field_are_left_for_finish():
    fields = Fields({"width": 3, "wdth": 4}, "x")
    read_dataclass(fields, Tower)
    with pytest.raises(CheckpointError, match=r"'wdth' is not a key here \(known: rate, width\)"):
        fields.finish()
