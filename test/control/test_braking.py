import numpy as np
from control_bench import EPOCH_NS, excess, seconds, viable_states
from hypothesis import given, settings
from hypothesis import strategies as st

from groot_ros.control.braking import (
    LEAST_SHARE,
    STANDING,
    braking_times,
    brought_to_rest,
    steadiness,
)
from groot_ros.control.curve import Curve
from groot_ros.control.limits import Limits

LIMITS = Limits(
    lower=np.array([-1.0, -0.5, -2.0]),
    upper=np.array([1.0, 0.5, 2.0]),
    velocity=np.array([2.0, 1.0, 3.0]),
    acceleration=np.array([10.0, 20.0, 5.0]),
)


def moving(p, v):
    """A curve that arrives at (p, v) now."""
    times = EPOCH_NS + np.array([-10_000_000, 0], dtype=np.int64)
    return Curve(times, np.stack([p - 0.01 * v, p]), np.stack([v, v]))


@settings(max_examples=300, deadline=None)
@given(viable_states(LIMITS), st.sampled_from([0.0, 0.1, 0.3, 2.0]))
def test_a_tail_from_any_viable_state_keeps_all_limits_and_ends_exactly_at_rest(state, wanted):
    p, v = state
    curve = brought_to_rest(moving(p, v), LIMITS, wanted)
    position, velocity, acceleration = excess(curve, LIMITS, from_ns=EPOCH_NS)
    assert position < 1e-6
    assert velocity < 1e-6
    assert acceleration < 1e-6
    assert curve.velocities[-1].tolist() == curve.velocities[-2].tolist() == [0.0] * 3
    np.testing.assert_array_equal(curve.positions[-1], curve.positions[-2])


def test_a_tail_takes_the_time_wanted_where_limits_leave_the_choice():
    p, v = np.zeros(3), np.array([0.5, -0.2, 0.0])
    curve = brought_to_rest(moving(p, v), LIMITS, 0.3)
    assert seconds(int(curve.times[-2])) == 0.3
    assert round(seconds(curve.end_ns), 6) == 0.3 + STANDING
    np.testing.assert_allclose(curve.positions[-1], v * 0.3 / 2)


def test_fast_joints_take_longer_and_joints_near_a_limit_less():
    p, v = np.array([0.95, 0.0, 0.0]), np.array([0.5, 0.5, 3.0])
    times = braking_times(LIMITS, p, v, 0.3)
    np.testing.assert_allclose(times, [2 * 0.05 / 0.5, 0.3, 3.0 / 5.0], rtol=1e-3)


def test_without_a_wish_every_joint_brakes_at_its_acceleration_limit():
    p, v = np.zeros(3), np.array([1.0, -1.0, 2.0])
    curve = brought_to_rest(moving(p, v), LIMITS, 0.0)
    np.testing.assert_allclose(
        curve.positions[-1], v * np.abs(v) / (2 * LIMITS.acceleration), atol=1e-5
    )


def test_a_state_that_cannot_stop_in_time_stops_as_hard_as_it_may():
    p, v = np.array([0.99, 0.0, 0.0]), np.array([2.0, 0.0, 0.0])
    times = braking_times(LIMITS, p, v, 0.3)
    assert times[0] == 2.0 / 10.0


def test_a_standing_robot_gets_a_tail_too():
    curve = brought_to_rest(moving(np.zeros(3), np.zeros(3)), LIMITS, 0.0)
    assert seconds(curve.end_ns) > STANDING - 1e-3
    assert not curve.positions.any()


def trembling(way, tremor):
    """0.3 s at `way` rad/s, the last 20 ms of it at `tremor` rad/s."""
    times = EPOCH_NS + np.array([-300_000_000, -20_000_000, 0], dtype=np.int64)
    p = np.stack([-0.3 * way, -0.02 * way, 0.02 * (tremor - way)])
    return Curve(times, p, np.stack([way, way, tremor]))


def test_a_tail_coasts_as_far_as_the_motion_before_it_bears_out():
    way = np.array([0.2, 0.2, 0.2])
    steady = brought_to_rest(trembling(way, way), LIMITS, 0.3)
    rough = brought_to_rest(trembling(way, np.array([0.5, -0.5, 0.1])), LIMITS, 0.3)
    coasted = [curve.positions[-1] - curve.positions[2] for curve in (steady, rough)]
    np.testing.assert_allclose(coasted[0], 0.03)
    # Of 0.5 rad/s the mean of the last 0.15 s bears out 0.24; a way back bears out nothing.
    np.testing.assert_allclose(coasted[1], [0.24 * 0.15, -0.5 * 0.05, 0.015], rtol=1e-3)


def test_how_steady_a_motion_was_is_a_share_between_a_third_and_one():
    way = np.array([0.3, 0.3, 0.0])
    shares = steadiness(trembling(way, np.array([0.3, -0.6, 0.0])))
    np.testing.assert_allclose(shares, [1.0, LEAST_SHARE, 1.0])
