# SPDX-License-Identifier: Apache-2.0
"""Robots that scale their speed: by a slider on the teach pendant, or down to a pause."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.controller_bench import PERIOD, ControllerBench, sine

from groot_ros.control.motion_clock import MotionClock, SpeedScaling
from groot_ros.core import ExecutorStatus, ReasonCode, s_to_ns

RUNNING, HOLDING = ExecutorStatus.RUNNING, ExecutorStatus.HOLDING
ACCELERATION = 15.0


def driven(**options: float) -> ControllerBench:
    bench = ControllerBench(sine(amplitude=0.5, frequency=0.3), **options)
    bench.run(1.0)
    return bench


def motion(bench: ControllerBench, since: float) -> tuple[float, float]:
    """Return the largest speed and acceleration of the arm's commands, after the change itself."""
    arm = np.array(bench.commands)[round(since / PERIOD) + 6 :, :3]
    speed = np.abs(np.diff(arm, axis=0)).max() / PERIOD
    return float(speed), float(np.abs(np.diff(arm, 2, axis=0)).max() / PERIOD**2)


@pytest.mark.parametrize("delay", [0.002, 0.006])
def test_commands_are_continuous_and_within_limits_at_any_scaling(delay):
    bench = driven(delay=delay)
    largest = 0.5 * 2 * np.pi * 0.3
    for factor in (0.5, 0.8, 0.2, 0.5, 1.0):
        bench.scale(factor)
        changed = bench.t
        bench.run(0.6)
        assert bench.largest_step(changed) <= 3.0 * PERIOD
        # Until the delay of the messages is measured, each of them adds a small step.
        bench.run(0.8)
        speed, acceleration = motion(bench, changed + 0.6)
        assert speed <= 1.05 * factor * largest + 0.15
        assert acceleration <= 1.1 * ACCELERATION
        assert bench.state.status == RUNNING
        assert bench.state.speed_scaling == factor
    assert bench.rejected == []
    assert bench.state.underruns == 0


def test_a_pause_is_a_hold_without_a_latch_and_ends_by_a_new_chunk():
    bench = driven()
    bench.scale(0.5)
    bench.run(0.5)
    bench.scale(0.0)
    paused = bench.t
    bench.run(0.1)
    where, sent = bench.commands[-1], len(bench.sent)
    bench.run(3.0)
    assert (bench.state.status, bench.state.latched) == (HOLDING, False)
    assert bench.state.reason_code == ReasonCode.PAUSED
    assert set(bench.rejected) <= {"before_stop", "paused"}
    assert len(bench.sent) == sent
    np.testing.assert_array_equal(bench.commands[-1][:3], where[:3])
    bench.scale(1.0)
    bench.policy_runs = False
    bench.run(0.5)
    # What the controllers had been sent before the pause is not continued after it.
    np.testing.assert_allclose(bench.commands[-1][:3], where[:3], atol=1e-4)
    bench.policy_runs = True
    bench.run(0.5)
    assert bench.state.status == RUNNING
    assert bench.largest_step(paused) <= 3.0 * PERIOD


def test_the_operator_can_hold_during_a_pause():
    bench = driven()
    bench.scale(0.0)
    bench.run(0.2)
    bench.executor.hold(True, bench.now_ns)
    bench.run(0.2)
    where = bench.commands[-1]
    bench.scale(1.0)
    bench.run(1.0)
    np.testing.assert_allclose(bench.commands[-1][:3], where[:3], atol=1e-4)
    assert bench.state.reason_code == ReasonCode.OPERATOR_HOLD


def test_the_scaling_of_a_topic_is_followed_like_that_of_a_controller():
    """On Humble controllers scale, but report no factor."""
    bench = ControllerBench(sine(amplitude=0.5, frequency=0.3))
    bench.reported_scaling = lambda _: None
    bench.run(1.0)
    bench.executor.report_speed_scaling(1.0, bench.now_ns)
    bench.scale(0.5)
    bench.gripper.speed_scaling = 0.5
    assert bench.executor.report_speed_scaling(0.5, bench.now_ns) is None
    changed = bench.t
    bench.run(2.0)
    assert bench.largest_step(changed) <= 3.0 * PERIOD
    assert bench.state.status == RUNNING
    assert bench.state.speed_scaling == 0.5


def test_the_zero_of_a_controller_that_never_reports_another_factor_is_ignored():
    """Versions of joint_trajectory_controller without scaling leave the field at 0."""
    bench = ControllerBench(sine())
    bench.reported_scaling = lambda _: 0.0
    bench.run(1.0)
    assert bench.state.status == RUNNING
    assert bench.state.speed_scaling == 1.0


def test_the_smallest_factor_of_all_sources_counts():
    scaling = SpeedScaling()
    assert scaling.factor == 1.0
    scaling.report("arm", 0.8)
    scaling.report("gripper", 1.0)
    assert scaling.factor == 0.8
    scaling.report_of_robot(0.0)
    assert scaling.factor == 0.0
    scaling.report_of_robot(1.0)
    scaling.report("arm", 0.0)
    assert scaling.factor == 0.0


def test_motion_time_is_time_until_a_scaling_is_reported():
    clock = MotionClock()
    clock.advance(5, 1.0)
    clock.advance(7, 0.998)
    assert clock.identity
    assert clock.at(12345) == 12345


@given(st.lists(st.tuples(st.integers(1, 10**9), st.floats(0.0, 1.0)), min_size=1, max_size=20))
def test_motion_time_is_continuous_monotonic_and_advances_at_the_scaling(changes):
    clock, now = MotionClock(), 0
    for step, factor in changes:
        before = clock.at(now + step)
        now += step
        clock.advance(now, factor)
        assert clock.at(now) == pytest.approx(before, abs=1)
        later = clock.at(now + s_to_ns(1.0)) - clock.at(now)
        assert later == pytest.approx(s_to_ns(clock.scaling), abs=1)
    samples = clock.at_all(range(now - 2 * 10**9, now, 10**7))
    assert (np.diff(samples) >= 0).all()


def test_a_factor_above_one_does_not_speed_up_the_motion():
    clock = MotionClock()
    clock.advance(0, 1.5)
    assert (clock.scaling, clock.identity) == (1.0, True)
