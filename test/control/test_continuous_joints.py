# SPDX-License-Identifier: Apache-2.0
"""Joints that turn without end, and drivers that report them within one turn."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.control_bench import ARM, DT, Bench, chunk, contract, excess

from groot_ros.control import ExecutorConfig
from groot_ros.control.joint_state import MeasuredState, nearest_turn
from groot_ros.core import ExecutorStatus

SPEED = 1.5


class EndlessBench(Bench):
    """A robot whose first two joints turn without end, and are reported within (-pi, pi]."""

    def __init__(self, start: float = 2.5, wraps: bool = True) -> None:
        super().__init__(ExecutorConfig(), contract(endless=True), start=[start, start, 0.0, 0.0])
        self.wraps = wraps

    def observe(self) -> None:
        where = self.measured.copy()
        if self.wraps:
            where[:2] = math.pi - (math.pi - where[:2]) % math.tau
        self.executor.observe(
            self.now_ns, ["j1", "j2", "j3", "finger"], where.tolist(), self.velocity.tolist()
        )
        self.reported = where

    def turning_chunk(self, speed: float, wrapped: bool) -> np.ndarray:
        """Return the values of a chunk that turns on from where the driver reports the joints."""
        self.observe()
        values = np.tile(self.reported, (16, 1))
        values[:, :2] += (speed * np.arange(16) * DT)[:, None] * [1.0, -1.0]
        if wrapped:
            values[:, :2] = (values[:, :2] + math.pi) % math.tau - math.pi
        return values

    def turn(self, seconds: float, speed: float = SPEED, wrapped: bool = True) -> None:
        for _ in range(round(seconds / 0.2)):
            rejection = self.give(chunk(self.turning_chunk(speed, wrapped), self.t))
            assert rejection is None, rejection
            self.run(0.2)
            assert self.state.status == ExecutorStatus.RUNNING, self.state.reason


@pytest.mark.parametrize("wrapped", [True, False])
def test_a_joint_turns_across_the_seam_of_its_driver(wrapped):
    bench = EndlessBench()
    bench.turn(8.0, wrapped=wrapped)
    assert bench.measured[0] > 2.5 + math.tau
    assert bench.measured[1] < 2.5 - math.tau
    positions = [u.trajectories[0].positions for _, u in bench.updates]
    steps = max(np.abs(np.diff(p, axis=0)).max() for p in positions)
    assert steps < 1.0
    for (_, before), (_, after) in zip(bench.updates, bench.updates[1:], strict=False):
        assert np.abs(before.timeline.positions[0] - after.timeline.positions[0]).max() < 1.0


def test_endless_joints_keep_velocity_and_acceleration_limits():
    bench = EndlessBench()
    bench.turn(2.0, speed=9.0)
    _, speed, acceleration = excess(bench.active, bench.limits)
    assert speed <= 1e-9
    assert acceleration <= 1e-6


def test_a_stop_works_beyond_the_seam():
    bench = EndlessBench()
    bench.turn(2.0)
    bench.executor.hold(True, bench.now_ns)
    bench.run(1.0)
    assert bench.at_rest
    bench.executor.hold(False, bench.now_ns)
    bench.run(0.1)
    bench.turn(0.4)


@pytest.mark.parametrize(("start", "wraps"), [(9.0, False), (-3.1, True), (0.4, True)])
def test_motion_begins_in_the_turn_in_which_the_driver_reports_a_joint(start, wraps):
    bench = EndlessBench(start, wraps)
    bench.turn(0.2, wrapped=True)
    assert bench.updates[0][1].timeline.positions[0][0] == pytest.approx(start, abs=1e-3)


def test_motion_begins_in_the_turn_of_its_controller():
    """A controller that holds 3.2 rad must not be sent -3.08: it might turn all the way back."""
    bench = EndlessBench(3.2)
    held = dict(zip(ARM, [3.2, 3.2, 0.0], strict=True))
    bench.executor.check_controller("arm", bench.now_ns, held, bench.now_ns)
    bench.turn(0.2)
    assert bench.updates[0][1].timeline.positions[0][0] == pytest.approx(3.2, abs=1e-3)


def test_a_robot_that_is_moved_by_hand_starts_where_its_driver_reports_it():
    bench = EndlessBench()
    bench.turn(2.0)
    bench.executor.hold(True, bench.now_ns)
    bench.run(3.0)
    bench.follows = False
    bench.measured = np.array([-1.0, 1.0, 0.0, 0.0])
    bench.run(0.2)
    bench.executor.hold(False, bench.now_ns)
    bench.run(0.02)
    assert bench.give(chunk(bench.turning_chunk(0.1, True), bench.t)) is None
    np.testing.assert_allclose(bench.active.at(bench.now_ns)[0][:2], [-1.0, 1.0], atol=0.01)


@given(st.floats(-100, 100), st.floats(-100, 100))
def test_the_nearest_turn_is_within_half_a_turn(angle, near):
    found = nearest_turn(angle, near)
    assert abs(found - near) <= math.pi + 1e-9
    assert math.cos(found - angle) == pytest.approx(1.0)


def test_only_continuous_joints_are_unwrapped():
    state = MeasuredState(["a", "b"], {}, np.array([True, False]))
    state.near = np.array([6.0, 6.0])
    state.observe(1, ["a", "b"], [0.1, 0.1], [])
    np.testing.assert_allclose(state.position, [0.1 + math.tau, 0.1])
    state.use_own_turns({})
    np.testing.assert_allclose(state.position, [0.1, 0.1])
