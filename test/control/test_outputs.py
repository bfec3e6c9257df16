# SPDX-License-Identifier: Apache-2.0
"""Messages to controllers and the committed timeline."""

from dataclasses import replace

import numpy as np
import pytest
from support.control_bench import ARM, EPOCH_NS, contract

from groot_ros.control import JointTrajectory
from groot_ros.control.curve import Curve
from groot_ros.control.motion_clock import MotionClock
from groot_ros.control.outputs import controller_trajectory, require_continuous, timeline_rows
from groot_ros.core import MalformedError

GOOD = JointTrajectory(
    controller="arm",
    topic="arm/joint_trajectory",
    joint_names=("a", "b"),
    stamp_ns=EPOCH_NS,
    offsets_ns=np.array([0, 10, 20]),
    positions=np.array([[0.0, 0.0], [1.0, 1.0], [2.0, 2.0]]),
    velocities=np.array([[1.0, 1.0], [1.0, 1.0], [0.0, 0.0]]),
)


def changed(name, index, value):
    array = np.array(getattr(GOOD, name))
    array[index] = value
    return {name: array}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (changed("positions", (1, 0), np.nan), "non_finite"),
        (changed("velocities", (0, 0), np.inf), "non_finite"),
        (changed("velocities", (2, 1), 1e-9), "nonzero_end_velocity"),
        (changed("offsets_ns", 1, 20), "non_increasing_times"),
        (changed("offsets_ns", 0, 5), "non_increasing_times"),
        ({"joint_names": ("a", "a")}, "duplicate_name"),
        ({"joint_names": ("a",)}, "sizes_disagree"),
        ({"velocities": np.zeros((3, 3))}, "sizes_disagree"),
        (
            {n: getattr(GOOD, n)[-1:] for n in ("positions", "velocities")}
            | {"offsets_ns": np.array([0])},
            "too_few_points",
        ),
    ],
)
def test_trajectories_that_a_controller_cannot_execute_are_malformed(change, reason):
    with pytest.raises(MalformedError) as caught:
        replace(GOOD, **change)
    assert caught.value.reason == reason


def test_each_controller_gets_its_own_joints_in_its_own_order():
    controller = contract().controllers[0]
    times = EPOCH_NS + np.array([0, 10, 20], dtype=np.int64)
    curve = Curve(times, np.arange(12.0).reshape(3, 4), np.zeros((3, 4)))
    trajectory = controller_trajectory(controller, [2, 1, 0], curve)
    assert trajectory.joint_names == tuple(reversed(ARM))
    assert trajectory.positions[0].tolist() == [2.0, 1.0, 0.0]
    assert trajectory.stamp_ns == EPOCH_NS
    assert trajectory.end_ns == EPOCH_NS + 20


def line(shift=0.0, speed=1.0):
    times = EPOCH_NS + np.array([-(10**8), 10**8], dtype=np.int64)
    positions = shift + speed * np.array([[-0.1], [0.1]])
    return Curve(times, positions, np.full((2, 1), speed))


def test_the_active_motion_may_be_sent_again():
    require_continuous(line(), None, EPOCH_NS)
    require_continuous(line(), line(), EPOCH_NS)


@pytest.mark.parametrize(
    ("new", "now_ns", "reason"),
    [
        (line(shift=1e-4), EPOCH_NS, "discontinuous"),
        (line(speed=1.01), EPOCH_NS, "discontinuous"),
        (line(), EPOCH_NS - 2 * 10**8, "outside_time_span"),
        (line(), EPOCH_NS + 10**8, "outside_time_span"),
    ],
)
def test_a_message_that_would_make_the_robot_step_is_rejected(new, now_ns, reason):
    with pytest.raises(MalformedError) as caught:
        require_continuous(new, line(), now_ns)
    assert caught.value.reason == reason


MS = 1_000_000
CURVE = Curve(
    EPOCH_NS + np.array([0, 100 * MS], dtype=np.int64),
    np.array([[0.0], [1.0]]),
    np.full((2, 1), 10),
)


@pytest.mark.parametrize("anchor_ms", [-33, 0, 7, 50, 97, 150])
def test_timeline_rows_lie_on_the_grid_of_the_anchor_within_the_curve(anchor_ms):
    start_ns, positions, velocities = timeline_rows(
        CURVE, EPOCH_NS - 5, EPOCH_NS + anchor_ms * MS, 0.01, EPOCH_NS, MotionClock()
    )
    assert (start_ns - EPOCH_NS - anchor_ms * MS) % (10 * MS) == 0
    assert 0 <= start_ns - EPOCH_NS < 10 * MS
    t = (start_ns - EPOCH_NS) / 1e9 + 0.01 * np.arange(len(positions))
    assert 0.09 < t[-1] <= 0.1
    np.testing.assert_allclose(positions[:, 0], 10 * t, atol=1e-12)
    np.testing.assert_allclose(velocities, 10.0)


def test_timeline_rows_begin_at_the_given_time():
    start_ns, _, _ = timeline_rows(
        CURVE, EPOCH_NS + 42 * MS, EPOCH_NS, 0.01, EPOCH_NS, MotionClock()
    )
    assert start_ns == EPOCH_NS + 50 * MS


def test_rows_of_motion_at_half_speed_are_rows_in_time():
    clock = MotionClock()
    clock.advance(EPOCH_NS + 50 * MS, 0.5)
    start_ns, positions, velocities = timeline_rows(
        CURVE, EPOCH_NS, EPOCH_NS, 0.01, EPOCH_NS + 60 * MS, clock
    )
    # 50 ms at full speed, then the remaining 50 ms of motion at half speed.
    assert (start_ns, len(positions)) == (EPOCH_NS + 10 * MS, 15)
    expected = [*np.arange(0.1, 0.5, 0.1), *np.arange(0.5, 1.01, 0.05)]
    np.testing.assert_allclose(positions[:, 0], expected, atol=1e-9)
    np.testing.assert_allclose(velocities[:, 0], [10.0] * 4 + [5.0] * 11)
