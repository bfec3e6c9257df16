# SPDX-License-Identifier: Apache-2.0
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from support.control_bench import EPOCH_NS, excess, seconds, viable_states

from groot_ros.control.braking import (
    MIN_STEADINESS,
    REST_DURATION,
    braking_times,
    steadiness,
    with_braking_tail,
)
from groot_ros.control.curve import Curve, knot_velocities
from groot_ros.control.limits import Limits

LIMITS = Limits(
    lower=np.array([-1.0, -0.5, -2.0]),
    upper=np.array([1.0, 0.5, 2.0]),
    velocity=np.array([2.0, 1.0, 3.0]),
    acceleration=np.array([10.0, 20.0, 5.0]),
)


def moving(p, v):
    """Return a curve that ends with the state (p, v)."""
    times = EPOCH_NS + np.array([-10_000_000, 0], dtype=np.int64)
    return Curve(times, np.stack([p - 0.01 * v, p]), np.stack([v, v]))


@settings(max_examples=300, deadline=None)
@given(viable_states(LIMITS), st.sampled_from([0.0, 0.1, 0.3, 2.0]))
def test_a_tail_from_any_viable_state_keeps_all_limits_and_ends_exactly_at_rest(state, desired):
    p, v = state
    curve = with_braking_tail(moving(p, v), LIMITS, desired)
    position, velocity, acceleration = excess(curve, LIMITS, from_ns=EPOCH_NS)
    assert position < 1e-6
    assert velocity < 1e-6
    assert acceleration < 1e-6
    assert curve.velocities[-1].tolist() == curve.velocities[-2].tolist() == [0.0] * 3
    np.testing.assert_array_equal(curve.positions[-1], curve.positions[-2])


def test_a_tail_takes_the_desired_time_where_limits_allow_it():
    p, v = np.zeros(3), np.array([0.5, -0.2, 0.0])
    curve = with_braking_tail(moving(p, v), LIMITS, 0.3)
    assert seconds(int(curve.times[-2])) == 0.3
    assert round(seconds(curve.end_ns), 6) == 0.3 + REST_DURATION
    np.testing.assert_allclose(curve.positions[-1], v * 0.3 / 2)


def test_fast_joints_brake_for_longer_and_joints_near_a_limit_for_less():
    p, v = np.array([0.95, 0.0, 0.0]), np.array([0.5, 0.5, 3.0])
    times = braking_times(LIMITS, p, v, 0.3)
    np.testing.assert_allclose(times, [2 * 0.05 / 0.5, 0.3, 3.0 / 5.0], rtol=1e-3)


def test_with_a_desired_time_of_zero_every_joint_brakes_at_its_acceleration_limit():
    p, v = np.zeros(3), np.array([1.0, -1.0, 2.0])
    curve = with_braking_tail(moving(p, v), LIMITS, 0.0)
    np.testing.assert_allclose(
        curve.positions[-1], v * np.abs(v) / (2 * LIMITS.acceleration), atol=1e-5
    )


def test_a_state_that_cannot_stop_in_time_brakes_at_the_acceleration_limit():
    p, v = np.array([0.99, 0.0, 0.0]), np.array([2.0, 0.0, 0.0])
    times = braking_times(LIMITS, p, v, 0.3)
    assert times[0] == 2.0 / 10.0


def test_a_robot_at_rest_gets_a_tail_too():
    curve = with_braking_tail(moving(np.zeros(3), np.zeros(3)), LIMITS, 0.0)
    assert seconds(curve.end_ns) > REST_DURATION - 1e-3
    assert not curve.positions.any()


def chunk_end(positions):
    """Return a curve of steps 1 / 30 s apart, with velocities like those of a chunk."""
    times = EPOCH_NS + np.round(np.arange(len(positions)) / 30 * 1e9).astype(np.int64)
    return Curve(times, positions, knot_velocities(positions, 1 / 30))


def braking_distance(curve):
    return np.abs(with_braking_tail(curve, LIMITS, 0.3).positions[-1] - curve.positions[-1])


def test_smooth_motion_brakes_for_the_whole_desired_time():
    t = np.arange(16)[:, None] / 30
    curve = chunk_end(np.hstack([0.3 * t, 0.5 * t**2, 0.2 - 0.4 * t + 0.2 * t**2]))
    np.testing.assert_allclose(steadiness(curve), 1.0, rtol=1e-6)
    np.testing.assert_allclose(
        braking_distance(curve), np.abs(curve.velocities[-1]) * 0.15, rtol=1e-3
    )


def test_noise_in_the_last_step_does_not_lengthen_the_braking_distance():
    """5 mrad of noise per step are up to 1 rad/s at the last step."""
    rng = np.random.default_rng(0)
    path = 0.2 * np.arange(16)[:, None] / 30
    ends = [chunk_end(path + rng.normal(0.0, 0.005, (16, 3))) for _ in range(200)]
    distances = np.array([braking_distance(end) for end in ends])
    naive = np.array([np.abs(end.velocities[-1]) * 0.15 for end in ends])
    assert np.percentile(naive, 95) > 0.12
    assert np.percentile(distances, 95) < 0.055
    assert distances.mean() < 0.55 * naive.mean()


def test_a_joint_that_reverses_in_its_last_step_brakes_for_a_third_of_the_time():
    positions = np.tile(0.2 * np.arange(16)[:, None] / 30, 3)
    positions[-1] -= 0.02
    curve = chunk_end(positions)
    assert (curve.velocities[-1] < -0.5).all()
    np.testing.assert_allclose(steadiness(curve), MIN_STEADINESS)
