"""What a controller reports, on Jazzy and on Humble, is one mapping of joints."""

from array import array
from types import SimpleNamespace

import pytest

from groot_ros.bridge.controller_state import reference_of, state_topic


def message(**fields):
    points = {name: SimpleNamespace(positions=array("d", p)) for name, p in fields.items()}
    return SimpleNamespace(joint_names=["a", "b"], **points)


@pytest.mark.parametrize(
    ("fields", "found"),
    [
        ({"reference": [1.0, 2.0], "feedback": [0.0, 0.0]}, {"a": 1.0, "b": 2.0}),
        ({"desired": [1.0, 2.0]}, {"a": 1.0, "b": 2.0}),
        ({"reference": [], "desired": [1.0, 2.0]}, {"a": 1.0, "b": 2.0}),
        ({"reference": [1.0, float("nan")]}, {"a": 1.0}),
        ({"reference": []}, {}),
        ({"reference": [1.0]}, {}),
        ({}, {}),
    ],
)
def test_the_reference_by_joint(fields, found):
    assert reference_of(message(**fields)) == found


def test_the_state_is_beside_the_commands():
    assert state_topic("arm_controller/joint_trajectory") == "arm_controller/controller_state"
    assert state_topic("/left/arm/joint_trajectory") == "/left/arm/controller_state"
    assert state_topic("commands") == "controller_state"
