"""Each rejection of joint_trajectory_controller in its own words, and what it takes silently."""

from dataclasses import replace

import pytest

from groot_ros.sim.trajectory import TrajectoryMessage, TrajectoryPoint
from groot_ros.sim.trajectory_checks import TrajectoryRejected, check_trajectory

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
def test_is_rejected_with_the_controllers_words(message, words):
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
def test_is_taken_without_a_word(message):
    check(message)


def test_a_moving_end_is_taken_where_it_is_allowed():
    check(with_point(2, velocities=(0.0, 0.5, 0.0)), allow=True)
