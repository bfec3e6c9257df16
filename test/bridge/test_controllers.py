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
from groot_ros.robot.controller import controller_type, controller_types


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
