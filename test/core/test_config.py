# SPDX-License-Identifier: Apache-2.0
"""A configuration dataclass checks its fields; an error is one line that names the problem."""

from dataclasses import dataclass, replace

import pytest

from groot_ros.control import ExecutorConfig
from groot_ros.core import PolicyConfig, RecorderConfig, SimRobotConfig
from groot_ros.core.config import check, parameter, parameters_of

CONFIGS = (PolicyConfig, ExecutorConfig, SimRobotConfig, RecorderConfig)


@dataclass(frozen=True)
class Example:
    rate: float = parameter(5.0, "How often", unit="Hz", minimum=0.1, maximum=100.0)
    count: int = parameter(3, "How many", minimum=0, maximum=10, live=True)
    engine: str = parameter(
        "auto", "How", choices=("auto", "reference"), former_choices={"plain": "reference"}
    )
    rtc_mode: str = parameter("off", "Whether", choices=("off", "on"), name="rtc.mode")
    shadow: bool = parameter(False, "Only look")
    text: str = parameter("", "Which")
    topics: tuple[str, ...] = parameter((), "Which", exposed=False)

    def __post_init__(self) -> None:
        check(self)


RATE = parameters_of(Example)[0]


def test_declarations_have_the_name_of_their_field_unless_another_is_given():
    names = [(p.name, p.field_name) for p in parameters_of(Example())]
    assert names[:4] == [
        ("rate", "rate"),
        ("count", "count"),
        ("engine", "engine"),
        ("rtc.mode", "rtc_mode"),
    ]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rate": "fast"}, "rate must be a number, not 'fast'"),
        ({"rate": True}, "rate must be a number, not True"),
        ({"rate": 0.05}, "rate must be at least 0.1, not 0.05"),
        ({"rate": 101}, "rate must be at most 100, not 101"),
        ({"rate": float("nan")}, "rate must be at least 0.1, not nan"),
        ({"count": 2.0}, "count must be a whole number, not 2.0"),
        ({"count": True}, "count must be a whole number, not True"),
        ({"count": 11}, "count must be at most 10, not 11"),
        ({"engine": "abacus"}, "engine must be one of auto, reference, not 'abacus'"),
        ({"rtc_mode": "maybe"}, "rtc.mode must be one of off, on, not 'maybe'"),
        ({"shadow": 1}, "shadow must be true or false, not 1"),
        ({"text": 1}, "text must be a string, not 1"),
        ({"topics": "a"}, "topics must be a list of strings, not 'a'"),
        ({"topics": (1,)}, r"topics must be a list of strings, not \(1,\)"),
    ],
)
def test_an_invalid_value_is_rejected_with_the_name_of_its_parameter(changes, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        Example(**changes)


def test_values_are_converted_where_nothing_is_lost():
    example = Example(rate=2, rtc_mode=False, topics=["", "a"], engine="plain")
    assert (example.rate, type(example.rate)) == (2.0, float)
    assert example.rtc_mode == "off"
    assert example.topics == ("a",)
    assert example.engine == "reference"


def test_a_value_of_the_previous_version_gives_a_warning_that_names_the_new_one():
    engine = parameters_of(Example)[2]
    assert engine.rename_warning("auto") == ""
    assert engine.rename_warning("plain") == (
        "engine: 'plain' is now called 'reference'; please rename it"
    )


@pytest.mark.parametrize("value", [0.05, float("nan"), float("-inf")])
def test_a_number_below_its_range_is_a_problem(value):
    assert RATE.problem(value).startswith("rate must be at least 0.1")
    assert not RATE.problem(0.1)


def test_a_number_without_a_maximum_must_still_be_finite():
    unbounded = replace(RATE, maximum=None)
    assert unbounded.problem(1e9) == ""
    assert unbounded.problem(float("inf")) == "rate must be finite, not inf"


@pytest.mark.parametrize("config", CONFIGS)
def test_every_configuration_accepts_its_defaults_and_describes_each_field(config):
    config()
    declared = parameters_of(config)
    names = [p.name for p in declared] + [p.former_name for p in declared if p.former_name]
    assert len(set(names)) == len(names)
    for p in declared:
        assert p.problem(p.default) == "", p.name
        assert p.description, p.name
        assert not p.description.endswith("."), p.name
