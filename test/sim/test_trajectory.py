# SPDX-License-Identifier: Apache-2.0
"""Trajectories: checked and sampled as joint_trajectory_controller does, in its own words."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from groot_ros.sim.trajectory import (
    Knot,
    SampledTrajectory,
    TrajectoryMessage,
    TrajectoryPoint,
    TrajectoryRejected,
    check_trajectory,
    interpolate,
)

values = st.floats(-3, 3).map(lambda x: round(x, 3))


def knot(*fields):
    return Knot(*(np.array([f]) for f in fields))


@given(st.tuples(*[values] * 6), st.floats(0.01, 2.0))
def test_a_quintic_segment_meets_position_velocity_and_acceleration_at_both_ends(ends, duration):
    before, after = knot(*ends[:3]), knot(*ends[3:])
    for t, end in ((0.0, before), (duration, after)):
        reached = interpolate(before, after, duration, t)
        np.testing.assert_allclose(reached.position, end.position, atol=1e-9)
        np.testing.assert_allclose(reached.velocity, end.velocity, atol=1e-6)
        np.testing.assert_allclose(reached.acceleration, end.acceleration, atol=1e-3)


@given(st.tuples(*[values] * 4), st.floats(0.01, 2.0), st.floats(0.05, 0.95))
def test_the_velocity_of_a_cubic_segment_is_the_slope_of_its_position(ends, duration, share):
    before, after = knot(*ends[:2]), knot(*ends[2:])
    t, h = share * duration, 1e-5 * duration
    left = interpolate(before, after, duration, t - h).position
    right = interpolate(before, after, duration, t + h).position
    slope = interpolate(before, after, duration, t).velocity
    np.testing.assert_allclose((right - left) / (2 * h), slope, atol=1e-3 * (1 + 1 / duration))


def test_a_cubic_segment_through_known_numbers():
    middle = interpolate(knot(0.0, 0.0), knot(1.0, 0.0), 2.0, 1.0)
    assert middle.position == pytest.approx(0.5)
    assert middle.velocity == pytest.approx(0.75)
    assert middle.acceleration == pytest.approx(0.0)


def test_the_knot_with_fewer_fields_decides_the_interpolation():
    middle = interpolate(knot(0.0, 1.0), knot(1.0), 2.0, 1.0)
    assert middle.position == pytest.approx(0.5)
    assert middle.velocity == pytest.approx(0.5)


def test_outside_a_segment_the_nearer_end_is_held():
    before, after = knot(1.0, 5.0), knot(2.0, 5.0)
    assert interpolate(before, after, 1.0, -0.5).position == pytest.approx(1.0)
    assert interpolate(before, after, 1.0, 1.5).position == pytest.approx(2.0)


def test_after_the_first_knot_the_state_before_it_does_not_matter():
    samples = []
    for state in (0.0, 100.0):
        trajectory = SampledTrajectory(1_000, [0, 1_000], [knot(0.0), knot(1.0)])
        trajectory.start(1_500, knot(state), 1_500)
        samples.append(float(trajectory.sample(1_500).position[0]))
    assert samples == pytest.approx([0.5, 0.5])


def test_before_the_first_knot_the_curve_comes_from_the_state_before():
    trajectory = SampledTrajectory(0, [1_000, 2_000], [knot(1.0), knot(2.0)])
    trajectory.start(5_000, knot(-1.0), 5_000)
    at = [float(trajectory.sample(5_000 + t).position[0]) for t in (0, 500, 1_000, 1_500, 9_000)]
    assert at == pytest.approx([-1.0, 0.0, 1.0, 1.5, 2.0])


JOINTS = ("j1", "j2", "j3")
SECOND = 1_000_000_000
NOW = 100 * SECOND


def good(stamp_ns=NOW):
    points = [
        TrajectoryPoint(i * SECOND // 10, (0.1, 0.2, 0.3), (0.0, 0.0, 0.0)) for i in range(1, 4)
    ]
    return TrajectoryMessage(stamp_ns, JOINTS, points)


def with_point(index, **changes):
    points = list(good().points)
    points[index] = replace(points[index], **changes)
    return replace(good(), points=points)


def check(message, allow=False):
    check_trajectory(message, JOINTS, NOW, allow_nonzero_velocity_at_end=allow)


@pytest.mark.parametrize(
    ("message", "words"),
    [
        (replace(good(), points=[]), "Empty trajectory received."),
        (replace(good(), joint_names=()), "Joints on incoming trajectory don't match"),
        (replace(good(), joint_names=("j1", "j2")), "Joints on incoming trajectory don't match"),
        (
            replace(good(), joint_names=("j1", "j2", "jX")),
            "Incoming joint jX doesn't match the controller's joints.",
        ),
        (
            good(stamp_ns=NOW - SECOND),
            "with non-zero start time (99.000000) that ends in the past (99.300000)",
        ),
        (
            with_point(1, time_from_start_ns=SECOND // 10),
            "Time between points 0 and 1 is not strictly increasing, it is 0.100000 and 0.100000",
        ),
        (
            with_point(0, positions=(0.1, 0.2)),
            "Mismatch between joint_names size (3) and positions (2) at point #0.",
        ),
        (with_point(2, positions=()), "size (3) and positions (0) at point #2."),
        (with_point(1, velocities=(0.0,)), "size (3) and velocities (1) at point #1."),
        (with_point(1, accelerations=(0.0,) * 4), "size (3) and accelerations (4) at point #1."),
        (with_point(0, effort=(1.0, 1.0, 1.0)), "Trajectories with effort fields"),
        (
            with_point(2, velocities=(0.0, 0.5, 0.0)),
            "Velocity of last trajectory point of joint j2 is not zero: 0.500000000000000",
        ),
        (with_point(2, velocities=(0.0, 0.0, 0.0, 0.5)), "would abort here"),
    ],
)
def test_a_message_is_rejected_with_the_controllers_own_text(message, words):
    with pytest.raises(TrajectoryRejected) as rejection:
        check(message)
    assert words in str(rejection.value)


@pytest.mark.parametrize(
    "message",
    [
        good(),
        good(stamp_ns=0),
        good(stamp_ns=NOW - 2 * SECOND // 10),
        good(stamp_ns=NOW + 5 * SECOND),
        with_point(2, velocities=(1e-7, 0.0, 0.0)),
        with_point(1, velocities=()),
        with_point(1, positions=(float("nan"), 0.2, 0.3)),
        with_point(1, positions=(float("inf"), 0.2, 0.3)),
        with_point(2, velocities=(float("nan"), 0.0, 0.0)),
        with_point(0, positions=(9.0, 9.0, 9.0)),
        replace(good(), joint_names=("j3", "j1", "j2")),
        replace(good(), joint_names=("j1", "j1", "j3")),
    ],
)
def test_a_message_is_accepted(message):
    check(message)


def test_a_moving_end_is_accepted_if_it_is_allowed():
    check(with_point(2, velocities=(0.0, 0.5, 0.0)), allow=True)
