# SPDX-License-Identifier: Apache-2.0
"""The actuated joints and their measured state."""

from dataclasses import replace

import numpy as np
import pytest
from support.control_bench import ARM, GRIPPER, JOINTS, contract

from groot_ros.control.chunk_validation import Rejection
from groot_ros.control.joint_state import ActuatedJoints, MeasuredState
from groot_ros.core import MalformedError, s_to_ns


def test_joints_are_in_the_contracts_order_with_limits_methods_and_grippers():
    joints = ActuatedJoints.of(contract(velocity=2.0, interpolation="quintic"))
    assert joints.names == JOINTS
    assert joints.limits.velocity.tolist() == [2.0] * 4
    assert joints.methods == ("quintic", "quintic", "quintic", "cubic")
    assert joints.blended.tolist() == [True, True, True, False]


def test_columns_are_in_the_controllers_order():
    robot = contract()
    assert robot.controllers[0].joints == tuple(reversed(ARM))
    assert ActuatedJoints.of(robot).columns(robot.controllers[0]) == [2, 1, 0]


def test_joints_without_a_controller_are_left_out():
    robot = contract()
    joints = ActuatedJoints.of(replace(robot, controllers=robot.controllers[1:]))
    assert joints.names == (GRIPPER,)


@pytest.fixture
def measured():
    return MeasuredState(["a", "b"])


def check_age(measured, now_ns=10):
    return measured.check_age(now_ns, timeout=0.5, max_future=0.05)


def test_joints_are_matched_by_name_and_others_ignored(measured):
    measured.observe(5, ["wheel", "b", "a"], [9.0, 2.0, 1.0], [9.0, 0.2, 0.1])
    assert measured.position.tolist() == [1.0, 2.0]
    assert measured.velocity.tolist() == [0.1, 0.2]
    assert measured.oldest_ns == 5


def test_joints_of_several_sources_form_one_state_with_the_age_of_the_oldest(measured):
    measured.observe(5, ["a"], [1.0], [])
    assert check_age(measured).detail == "no joint state received for b"
    assert measured.oldest_ns is None
    measured.observe(3, ["b"], [2.0], [])
    assert measured.oldest_ns == 3
    assert check_age(measured) is None


def test_a_stale_state_names_the_joint_and_its_age(measured):
    measured.observe(s_to_ns(1.0), ["a"], [1.0], [])
    measured.observe(s_to_ns(0.8), ["b"], [1.0], [])
    assert check_age(measured, s_to_ns(1.3)) is None
    rejection = check_age(measured, s_to_ns(1.31))
    assert (
        str(rejection)
        == "stale_joint_state: the last joint state of b is 0.51 s old, joint_state_timeout is 0.5"
    )


def test_a_state_from_the_future_is_a_clock_skew(measured):
    measured.observe(s_to_ns(1.0), ["a", "b"], [1.0, 1.0], [])
    assert check_age(measured, s_to_ns(0.95)) is None
    assert check_age(measured, s_to_ns(0.9)).reason == "clock_skew"


@pytest.mark.parametrize("twice", ["a", "wheel"])
def test_a_message_that_names_a_joint_twice_is_rejected_whole(measured, twice):
    measured.observe(5, ["a", "b"], [1.0, 1.0], [])
    with pytest.raises(MalformedError) as caught:
        measured.observe(6, ["b", twice, twice], [2.0, 3.0, 4.0], [])
    assert caught.value.reason == "duplicate_name"
    assert measured.position.tolist() == [1.0, 1.0]
    assert measured.oldest_ns == 5


def test_a_message_a_little_behind_is_dropped_and_reported(measured):
    measured.observe(s_to_ns(5.0), ["a", "b"], [1.0, 1.0], [])
    with pytest.raises(MalformedError, match=r"'b' is 0.250 s behind its last one") as caught:
        measured.observe(s_to_ns(4.75), ["b"], [2.0], [])
    assert caught.value.reason == "out_of_order"
    assert measured.position.tolist() == [1.0, 1.0]
    assert measured.oldest_ns == s_to_ns(5.0)


def test_of_a_message_that_is_late_for_one_joint_the_other_joint_is_stored(measured):
    measured.observe(10, ["a"], [1.0], [])
    with pytest.raises(MalformedError, match="out_of_order"):
        measured.observe(8, ["a", "b"], [5.0, 2.0], [])
    assert measured.position.tolist() == [1.0, 2.0]
    assert measured.oldest_ns == 8


def test_a_source_whose_clock_was_reset_is_used_again(measured):
    measured.observe(s_to_ns(5.0), ["a", "b"], [1.0, 1.0], [])
    measured.observe(s_to_ns(3.9), ["a", "b"], [2.0, 2.0], [])
    assert measured.position.tolist() == [2.0, 2.0]
    assert measured.oldest_ns == s_to_ns(3.9)


@pytest.mark.parametrize("positions", [[], [1.0]])
def test_a_message_without_an_actuated_joint_is_ignored_even_without_positions(measured, positions):
    measured.observe(5, ["left_wheel", "right_wheel"], positions, [0.5, 0.5])
    assert check_age(measured).reason == "no_joint_state"


def test_a_message_with_velocities_only_of_an_actuated_joint_is_malformed(measured):
    with pytest.raises(MalformedError, match="joint 'b' needs a position") as caught:
        measured.observe(5, ["wheel", "b"], [], [0.5, 0.5])
    assert caught.value.reason == "invalid_joint_state"


def test_a_missing_joint_state_is_reported_by_why_its_messages_are_rejected(measured):
    zero = Rejection("zero_stamp", "set 'stamp: arrival'")
    measured.record_rejection(zero, ["b"])
    measured.observe(5, ["a"], [1.0], [])
    assert check_age(measured) == zero
    measured.observe(5, ["b"], [1.0], [])
    assert check_age(measured) is None


def test_a_stale_joint_state_is_reported_by_why_newer_messages_are_rejected(measured):
    measured.observe(s_to_ns(1.0), ["a", "b"], [1.0, 1.0], [])
    malformed = Rejection("invalid_joint_state", "2 names with 1 positions")
    measured.record_rejection(malformed, ["a", "wheel"])
    assert check_age(measured, s_to_ns(1.4)) is None
    assert check_age(measured, s_to_ns(1.6)) == malformed


def test_joints_that_are_forgotten_are_unknown_immediately(measured):
    measured.observe(5, ["a", "b"], [1.0, 2.0], [])
    competing = Rejection("competing_publishers", "/one and /two")
    measured.record_rejection(competing, ["b"], forget=True)
    assert measured.oldest_ns is None
    assert check_age(measured) == competing
    measured.observe(6, ["b"], [2.0], [])
    assert check_age(measured) is None


def test_a_joint_state_of_another_clock_is_told_apart_from_an_old_one(measured):
    measured.observe(1000, ["a", "b"], [1.0, 1.0], [])
    assert "is use_sim_time the same" in check_age(measured, s_to_ns(1.8e9)).detail
    assert "use_sim_time" not in check_age(measured, s_to_ns(60.0)).detail


def test_a_source_without_velocities_has_velocity_zero(measured):
    measured.observe(5, ["a", "b"], [1.0, 1.0], [3.0, 3.0])
    measured.observe(6, ["a", "b"], [1.0, 1.0], [])
    assert measured.velocity.tolist() == [0.0, 0.0]


@pytest.mark.parametrize(
    ("positions", "velocities"),
    [
        ([1.0], []),
        ([1.0, 2.0], [1.0]),
        ([float("nan"), 2.0], []),
        ([1.0, 2.0], [0.0, 1e300]),
        ([1.0, 1e300], []),
    ],
)
def test_a_malformed_message_is_rejected_whole(measured, positions, velocities):
    with pytest.raises(MalformedError) as caught:
        measured.observe(5, ["a", "b"], positions, velocities)
    assert caught.value.reason == "invalid_joint_state"
    assert check_age(measured).detail == "no joint state received for a, b"


@pytest.mark.parametrize("nothing", [float("nan"), float("inf")])
def test_a_joint_without_a_velocity_interface_has_velocity_zero(measured, nothing):
    """joint_state_broadcaster publishes NaN for it."""
    measured.observe(5, ["a", "b"], [1.0, 2.0], [nothing, 0.3])
    assert measured.velocity.tolist() == [0.0, 0.3]
    assert measured.position.tolist() == [1.0, 2.0]


def test_a_joint_that_is_not_actuated_may_be_nan(measured):
    measured.observe(5, ["a", "b", "wheel"], [1.0, 2.0, float("nan")], [])
    assert measured.oldest_ns == 5


def test_a_source_is_used_only_for_the_joints_it_is_trusted_for(measured):
    measured.observe(5, ["a", "b"], [1.0, 2.0], [], trusted=("b",))
    assert check_age(measured).detail == "no joint state received for a"


def test_a_suction_cup_without_joint_state_is_where_it_was_commanded():
    measured = MeasuredState(("arm", "cup"), {"cup": 0.0})
    measured.observe(s_to_ns(1.0), ["arm"], [0.5], [])
    assert measured.check_age(s_to_ns(1.01), 0.1, 0.05) is None
    assert measured.position.tolist() == [0.5, 0.0]
    measured.assume_commanded(np.array([9.0, 1.0]))
    assert measured.position.tolist() == [0.5, 1.0]
    measured.clear()
    assert measured.position.tolist() == [0.0, 1.0]
    assert measured.oldest_ns is None


def test_a_gripper_that_nothing_measures_starts_open():
    robot = contract()
    (source,) = robot.sources
    unmeasured = replace(robot, sources=(replace(source, joints=ARM),))
    assert ActuatedJoints.of(robot).unmeasured == {}
    assert ActuatedJoints.of(unmeasured).unmeasured == {GRIPPER: 1.5}
