# SPDX-License-Identifier: Apache-2.0
"""Joints by name from several sources, interpolated; rejections name the missing joint."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from groot_ros.core import MalformedError, StampedInput
from groot_ros.observation.joint_buffer import JointBuffer, interpolate_angle
from groot_ros.observation.rejections import Rejected
from groot_ros.robot import JointStateSource

MS = 1_000_000
ARM = JointStateSource("source", "arm/joint_states", ("a", "b", "c"))
HAND = JointStateSource("source", "hand/joint_states", ("grip",))


def joints_of(*sources, names=("a", "b", "grip")):
    return JointBuffer(sources or (ARM, HAND), names, 1000 * MS)


def rejection(joints, stamp, gap=100 * MS):
    with pytest.raises(Rejected) as caught:
        joints.interpolate(stamp, gap)
    return caught.value


@given(st.permutations(["a", "b", "grip", "elbow", "wheel"]))
def test_joints_are_found_by_name_in_any_order_and_others_are_ignored(order):
    joints = joints_of(JointStateSource("source", "joint_states", ("a", "b", "grip")))
    value = {"a": 1.0, "b": 2.0, "grip": 3.0, "elbow": np.nan, "wheel": 5.0}
    joints.add_joint_state("joint_states", 10, order, [value[j] for j in order])
    assert joints.interpolate(10, MS)[0] == {"a": 1.0, "b": 2.0, "grip": 3.0}


@given(st.floats(-3, 3), st.floats(-3, 3), st.integers(0, 100))
def test_the_position_between_two_samples_lies_on_their_line(first, second, percent):
    joints = joints_of(JointStateSource("source", "t", ("a",)), names=("a",))
    joints.add_joint_state("t", 0, ["a"], [first])
    joints.add_joint_state("t", 100, ["a"], [second])
    expected = first + (second - first) * percent / 100
    assert joints.interpolate(percent, 100)[0]["a"] == pytest.approx(expected, abs=1e-12)


def test_several_sources_are_combined_and_every_sample_used_is_listed():
    joints = joints_of()
    joints.add_joint_state("arm/joint_states", 0, ["a", "b"], [0.0, 1.0])
    joints.add_joint_state("arm/joint_states", 10 * MS, ["a", "b"], [1.0, 2.0])
    joints.add_joint_state("hand/joint_states", 4 * MS, ["grip"], [7.0])
    positions, used = joints.interpolate(5 * MS, 10 * MS)
    assert positions == {"a": 0.5, "b": 1.5, "grip": 7.0}
    assert used == (
        StampedInput("arm/joint_states", 0),
        StampedInput("hand/joint_states", 4 * MS),
        StampedInput("arm/joint_states", 10 * MS),
    )


def test_drivers_that_share_one_topic_may_each_name_only_their_own_joints():
    joints = joints_of(JointStateSource("source", "t", ("a", "b")), names=("a", "b"))
    joints.add_joint_state("t", 0, ["a"], [1.0])
    joints.add_joint_state("t", 1, ["b"], [2.0])
    assert joints.interpolate(1, MS)[0] == {"a": 1.0, "b": 2.0}


def test_a_joint_that_no_message_names_is_named():
    joints = joints_of()
    joints.add_joint_state("arm/joint_states", 0, ["a", "c"], [0.0, 0.0])
    caught = rejection(joints, 0)
    assert caught.reason == "missing_joint"
    assert caught.detail == "'arm/joint_states' does not name joint 'b'; it names a, c"


def test_a_source_without_messages_is_named():
    joints = joints_of()
    joints.add_joint_state("arm/joint_states", 0, ["a", "b"], [0.0, 0.0])
    caught = rejection(joints, 0)
    assert caught.reason == "missing_joint_state"
    assert caught.detail == "nothing received on 'hand/joint_states'"


def test_the_newest_sample_is_held_within_the_gap_only():
    joints = joints_of(HAND, names=("grip",))
    joints.add_joint_state("hand/joint_states", 0, ["grip"], [4.0])
    assert joints.interpolate(100 * MS, 100 * MS)[0] == {"grip": 4.0}
    caught = rejection(joints, 101 * MS)
    assert caught.reason == "stale_joint_state"
    assert "'grip' on 'hand/joint_states' is 0.101 s older" in caught.detail


def test_positions_are_not_interpolated_across_a_gap():
    joints = joints_of(HAND, names=("grip",))
    joints.add_joint_state("hand/joint_states", 0, ["grip"], [4.0])
    joints.add_joint_state("hand/joint_states", 500 * MS, ["grip"], [9.0])
    assert rejection(joints, 50 * MS).reason == "stale_joint_state"


def test_a_source_that_started_after_the_images_is_missing():
    joints = joints_of(HAND, names=("grip",))
    joints.add_joint_state("hand/joint_states", 50 * MS, ["grip"], [4.0])
    caught = rejection(joints, 20 * MS)
    assert caught.reason == "missing_joint_state"
    assert "is 0.030 s newer than the images" in caught.detail


@pytest.mark.parametrize(
    ("names", "positions", "reason"),
    [
        (["a", "b"], [1.0], "sizes_disagree"),
        (["a", "b"], [], "sizes_disagree"),
        (["a", "b"], [1.0, np.nan], "non_finite"),
        (["a", "b", "a"], [1.0, 2.0, 3.0], "duplicate_name"),
    ],
)
def test_a_malformed_message_is_rejected_whole(names, positions, reason):
    joints = joints_of(ARM, names=("a", "b"))
    joints.add_joint_state("arm/joint_states", 0, ["a", "b"], [5.0, 6.0])
    with pytest.raises(MalformedError) as caught:
        joints.add_joint_state("arm/joint_states", 10, names, positions)
    assert caught.value.reason == reason
    assert joints.interpolate(10, MS)[0] == {"a": 5.0, "b": 6.0}


@pytest.mark.parametrize(
    ("first", "second", "between"),
    [(3.1, -3.1, math.pi), (-3.0, 3.0, -math.pi), (0.1, 0.3, 0.2), (9.0, 9.4, 9.2)],
)
def test_a_continuous_joint_is_interpolated_across_the_seam(first, second, between):
    joints = JointBuffer([JointStateSource("s", "t", ("a",))], ["a"], 1000 * MS, ["a"])
    joints.add_joint_state("t", 0, ["a"], [first])
    joints.add_joint_state("t", 10 * MS, ["a"], [second])
    angle = joints.interpolate(5 * MS, 10 * MS)[0]["a"]
    assert math.remainder(angle - between, math.tau) == pytest.approx(0.0, abs=1e-9)
    assert abs(angle) <= max(math.pi, abs(first), abs(second))


@given(a=st.floats(-math.pi, math.pi), b=st.floats(-math.pi, math.pi), share=st.floats(0, 1))
def test_an_interpolated_angle_is_never_further_than_the_shorter_way(a, b, share):
    angle = interpolate_angle(a, b, share)
    way = abs(math.remainder(b - a, math.tau))
    assert abs(math.remainder(angle - a, math.tau)) <= way + 1e-9
    assert abs(angle) <= math.pi + 1e-9


@pytest.mark.parametrize("positions", [[], [1.0], [np.nan, np.nan]])
def test_a_message_of_joints_that_nobody_needs_is_ignored_whatever_it_contains(positions):
    """A base publishes the velocities of its wheels only."""
    joints = joints_of(ARM, names=("a", "b"))
    joints.add_joint_state("arm/joint_states", 0, ["a", "b"], [5.0, 6.0])
    joints.add_joint_state("arm/joint_states", 10, ["wheel_left", "wheel_right"], positions)
    assert joints.interpolate(10, MS)[0] == {"a": 5.0, "b": 6.0}


def test_a_needed_joint_with_a_velocity_only_is_malformed_and_named():
    joints = joints_of(ARM, names=("a", "b"))
    with pytest.raises(MalformedError, match="joint 'b' needs a position") as caught:
        joints.add_joint_state("arm/joint_states", 0, ["wheel", "b"], [])
    assert caught.value.reason == "sizes_disagree"


def test_of_a_message_that_is_late_for_one_joint_the_other_is_kept():
    joints = joints_of(ARM, names=("a", "b"))
    joints.add_joint_state("arm/joint_states", 20, ["a"], [1.0])
    with pytest.raises(Rejected, match=r"out_of_order.*'a'"):
        joints.add_joint_state("arm/joint_states", 10, ["a", "b"], [9.0, 2.0])
    assert joints.interpolate(20, MS)[0] == {"a": 1.0, "b": 2.0}
