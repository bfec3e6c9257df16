# SPDX-License-Identifier: Apache-2.0
"""Why a joint deviates from its command: late, slowed, standing, elsewhere."""

import numpy as np
import pytest
from support.control_bench import DT, EPOCH_NS
from support.controller_bench import ControllerBench, Policy, sine

from groot_ros.control import ExecutorConfig
from groot_ros.control.curve import Curve
from groot_ros.control.deviation import OF_JOINT, Cause, Deviation, explain
from groot_ros.core import ReasonCode, s_to_ns


def curve() -> Curve:
    """Return 2 s of a motion of one joint."""
    t = np.linspace(0.0, 2.0, 121)
    times = EPOCH_NS + np.round(t * 1e9).astype(np.int64)
    return Curve(times, np.sin(3.0 * t)[:, None], 3.0 * np.cos(3.0 * t)[:, None])


def why(position, end: float = 1.5) -> Deviation:
    """Explain the last 0.4 s before `end` of a joint whose position at t s is position(t)."""
    t = np.arange(end - 0.4, end, 0.01)
    times = EPOCH_NS + np.round(t * 1e9).astype(np.int64)
    observed = np.array([position(each) for each in t]).reshape(-1, 1)
    return explain(curve(), times, observed, 0, OF_JOINT)


def sent(t: float) -> float:
    return float(curve().at(EPOCH_NS + s_to_ns(t))[0][0])


@pytest.mark.parametrize("delay", [0.05, 0.17, 0.35])
def test_a_joint_that_repeats_its_command_later_is_late_by_that_time(delay):
    found = why(lambda t: sent(t - delay))
    assert found.cause == Cause.LATE
    assert found.delay == pytest.approx(delay, abs=0.01)


@pytest.mark.parametrize("rate", [0.5, 0.8])
def test_a_joint_that_falls_behind_at_a_constant_rate_is_slowed(rate):
    found = why(lambda t: sent(1.1 + rate * (t - 1.1)))
    assert found.cause == Cause.SLOWED
    assert found.rate == pytest.approx(rate)
    assert found.delay == pytest.approx((1.0 - rate) * 0.39, abs=0.02)


def test_a_joint_that_does_not_move_stands():
    assert why(lambda t: sent(1.1) + 1e-3 * t).cause == Cause.STANDING


@pytest.mark.parametrize("other", [lambda t: sent(t) + 0.4, lambda t: -sent(t), lambda t: 2.0 * t])
def test_a_joint_that_moves_otherwise_is_elsewhere(other):
    assert why(other, end=1.75).cause == Cause.ELSEWHERE


def test_two_observations_explain_nothing():
    times = EPOCH_NS + np.array([0, s_to_ns(0.01)])
    found = explain(curve(), times, np.array([[0.5], [0.6]]), 0, OF_JOINT)
    assert found.cause == Cause.ELSEWHERE


def triangle(speed: float) -> Policy:
    """Return a policy that moves to and fro between -0.9 and 0.9 rad at this speed, rad/s."""

    def policy(t: float, _: np.ndarray) -> np.ndarray:
        phase = (t + np.arange(16) * DT) * speed / 1.8
        position = 1.8 * np.abs(phase % 2.0 - 1.0) - 0.9
        return np.outer(position, [1.0, 0.3, 0.0, 0.0])

    return policy


def reasons(lag: float, speed: float, **settings: float) -> list[str]:
    """Return the reasons of tracking errors in 3 s of driving a robot with this servo lag."""
    policy = triangle(speed)
    bench = ControllerBench(policy, ExecutorConfig(max_start_jump=3.0, **settings), lag=lag)
    bench.measured = policy(0.0, bench.measured)[0]
    found = []
    while bench.t < 3.0:
        bench.run(0.02)
        if bench.state.reason_code == ReasonCode.TRACKING_ERROR:
            found.append(bench.state.reason)
    return found


@pytest.mark.parametrize(("lag", "speed"), [(0.17, 2.5), (0.25, 1.7), (0.35, 1.0), (0.35, 2.5)])
def test_a_late_servo_is_reported_with_its_lag_and_the_parameter_that_decides(lag, speed):
    found = reasons(lag, speed)
    assert found
    for reason in found:
        joint, rest = reason.split(" follows ")
        late, unit, remedy = rest.split(" ", 2)
        assert (joint, unit) == ("j1", "s")
        assert float(late) == pytest.approx(lag, abs=0.03)
        assert "rad, max_tracking_error 0.3): lower limits_scale or raise" in remedy


@pytest.mark.parametrize(("lag", "speed"), [(0.05, 1.0), (0.05, 2.5), (0.1, 2.5)])
def test_a_servo_that_is_late_by_less_than_the_tolerance_is_no_fault(lag, speed):
    assert reasons(lag, speed) == []


def test_a_larger_tolerance_allows_a_later_servo():
    assert reasons(0.35, 1.0, max_tracking_error=0.9) == []


def test_a_blocked_arm_is_told_apart_from_a_late_one():
    bench = ControllerBench(sine(0.9, 0.5), ExecutorConfig(max_start_jump=3.0), lag=1e9)
    bench.run(3.0)
    assert "j1 does not follow: commanded" in bench.state.reason
    assert "standing still" in bench.state.reason
    assert "is it blocked? Is its controller active and its motor powered?" in bench.state.reason


def test_a_controller_that_scales_without_reporting_it_is_told():
    bench = ControllerBench(sine(0.9, 0.5), ExecutorConfig(max_chunk_age=3.0))
    bench.reported_scaling = lambda _: None
    bench.run(1.0)
    bench.scale(0.3)
    bench.policy_runs = False
    seen = set()
    for _ in range(60):
        bench.run(0.01)
        if bench.state.reason_code == ReasonCode.TRACKING_ERROR:
            seen.add(bench.state.reason)
    assert any(" at 30% of its speed" in reason for reason in seen), seen
