# SPDX-License-Identifier: Apache-2.0
"""Controller types: messages, commands, and the reference that they report."""

from array import array
from types import SimpleNamespace

import numpy as np
import pytest
from std_msgs.msg import Float64MultiArray
from trajectory_msgs.msg import JointTrajectory as JointTrajectoryMsg

from groot_ros.bridge.controllers.joint_trajectory_controller import reference_of, state_topic
from groot_ros.control import JointTrajectory
from groot_ros.core import NS_PER_S
from groot_ros.core.config_reader import ConfigError, Fields
from groot_ros.robot.controller import (
    Controller,
    controller_type,
    controller_types,
    read_controller,
)
from groot_ros.robot.joint import read_joint


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
def test_the_reference_on_jazzy_and_humble_is_a_mapping_of_joints(fields, found):
    assert reference_of(message(**fields)) == found


def test_the_state_topic_is_next_to_the_command_topic():
    assert state_topic("arm_controller/joint_trajectory") == "arm_controller/controller_state"
    assert state_topic("/left/arm/joint_trajectory") == "/left/arm/controller_state"
    assert state_topic("commands") == "controller_state"


def test_every_type_of_the_contract_has_a_module_that_says_how_it_is_commanded():
    types = {name: controller_type(name) for name in controller_types()}
    assert {name: (kind.command, kind.topic_key) for name, kind in types.items()} == {
        "digital_output": ("target", "topic"),
        "forward_command_controller": ("positions", "topic"),
        "gripper_action_controller": ("target", "action"),
        "joint_trajectory_controller": ("trajectory", "topic"),
        "parallel_gripper_action_controller": ("target", "action"),
    }
    assert types["joint_trajectory_controller"].message_type() is JointTrajectoryMsg
    assert types["forward_command_controller"].message_type() is Float64MultiArray


FINGER = {
    "type": "prismatic",
    "limits": {"position": [0.0, 0.04], "velocity": 0.2, "acceleration": 2.0},
    "gripper": {"closed": 0.04, "open": 0.0},
}


def read(others: dict | None = None, **entry: object) -> Controller:
    """Read one entry of `controllers:`."""
    section = Fields({"name": "hand", "joints": ["finger"], **entry}, "robot.yaml", strict=True)
    every = {"finger": FINGER, **(others or {})}
    known = {
        name: read_joint(name, Fields(value, f"joints.{name}", strict=True))
        for name, value in every.items()
    }
    return read_controller(section, known)


def test_a_gripper_action_has_defaults_for_everything():
    controller = read(type="gripper_action_controller")
    assert (controller.topic, controller.has_topic) == ("hand/gripper_cmd", False)
    options = controller.options
    assert options.deadband == pytest.approx(0.0008)
    assert (options.max_effort, options.scale, options.offset) == (None, 1.0, 0.0)
    assert options.closes_upwards


def test_the_options_of_a_gripper_action_are_read():
    options = read(
        type="parallel_gripper_action_controller",
        action="/left/gripper_cmd",
        deadband=0.004,
        max_effort=15.0,
        scale=-2,
        offset=0.08,
    ).options
    assert (options.deadband, options.max_effort) == (0.004, 15.0)
    assert options.to_goal_position(0.01) == pytest.approx(0.06)
    assert options.to_joint_position(0.06) == pytest.approx(0.01)
    assert not options.closes_upwards


def test_a_digital_output_switches_in_the_middle_by_default():
    controller = read(type="digital_output")
    assert (controller.topic, controller.has_topic) == ("hand/command", True)
    assert controller.options.threshold == pytest.approx(0.02)
    assert controller.options.hysteresis == pytest.approx(0.004)
    given = read(type="digital_output", threshold=0.001).options
    assert (given.threshold, given.hysteresis) == (0.001, 0.001)


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        ({"deadband": 0.0}, "'deadband' must be greater than 0, not 0"),
        ({"deadband": 0.05}, "'deadband' must be at most 0.04"),
        ({"max_effort": -5.0}, "'max_effort' must be greater than 0"),
        ({"scale": 0}, "'scale' must not be 0"),
        ({"topic": "hand/gripper_cmd"}, "'topic' is not a key here"),
        ({"threshold": 0.02}, "'threshold' is not a key here"),
        ({"joints": ["finger", "thumb"]}, "'joints' must be one joint, not 2: give each one"),
        ({"joints": ["arm"]}, "'joints' has 'arm', which does not follow its command"),
        ({"type": "digital_output", "joints": ["arm"]}, "add 'gripper: {closed, open}' to it"),
        ({"type": "digital_output", "threshold": 0.04}, "'threshold' is 0.04, which the joint"),
        ({"type": "digital_output", "threshold": 0.0}, "'threshold' must be greater than 0"),
        ({"type": "digital_output", "hysteresis": 0.021}, "'hysteresis' is 0.021: the value"),
        ({"type": "digital_output", "hysteresis": -1}, "'hysteresis' must be at least 0"),
        ({"type": "digital_output", "max_effort": 1}, "'max_effort' is not a key here"),
        ({"type": "joint_trajectory_controller", "deadband": 1}, "'deadband' is not a key here"),
    ],
)
def test_a_mistake_in_the_options_names_the_key_and_the_remedy(entry, problem):
    arm = {"limits": {"position": [-1.0, 1.0], "velocity": 1.0, "acceleration": 1.0}}
    with pytest.raises(ConfigError) as error:
        read({"thumb": FINGER, "arm": arm}, **{"type": "gripper_action_controller", **entry})
    assert str(error.value).startswith("robot.yaml: ")
    assert problem in str(error.value)


def test_a_trajectory_becomes_points_with_times_from_the_start():
    trajectory = JointTrajectory(
        controller="arm",
        topic="arm/joint_trajectory",
        joint_names=("lift", "pan"),
        stamp_ns=12 * NS_PER_S + 34,
        offsets_ns=np.array([0, 1_500_000_000]),
        positions=np.array([[0.1, 0.2], [0.3, 0.4]]),
        velocities=np.array([[1.0, 2.0], [0.0, 0.0]]),
    )
    msg = controller_type("joint_trajectory_controller").to_message(trajectory)
    assert (msg.header.stamp.sec, msg.header.stamp.nanosec) == (12, 34)
    assert msg.joint_names == ["lift", "pan"]
    times = [(p.time_from_start.sec, p.time_from_start.nanosec) for p in msg.points]
    assert times == [(0, 0), (1, 500_000_000)]
    assert [p.positions.tolist() for p in msg.points] == [[0.1, 0.2], [0.3, 0.4]]
    assert [p.velocities.tolist() for p in msg.points] == [[1.0, 2.0], [0.0, 0.0]]
    assert not any(len(p.accelerations) or len(p.effort) for p in msg.points)


def test_present_positions_become_one_array():
    msg = controller_type("forward_command_controller").to_message(np.array([0.5, -0.25]))
    assert msg.data.tolist() == [0.5, -0.25]
    assert controller_type("forward_command_controller").state() is None
