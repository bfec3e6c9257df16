"""The curve that a JointTrajectory means, segment by segment."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from groot_ros.sim.trajectory import Knot, SampledTrajectory, interpolate

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


def test_the_poorer_of_two_knots_decides_the_interpolation():
    middle = interpolate(knot(0.0, 1.0), knot(1.0), 2.0, 1.0)
    assert middle.position == pytest.approx(0.5)
    assert middle.velocity == pytest.approx(0.5)


def test_outside_a_segment_the_nearer_end_is_held():
    before, after = knot(1.0, 5.0), knot(2.0, 5.0)
    assert interpolate(before, after, 1.0, -0.5).position == pytest.approx(1.0)
    assert interpolate(before, after, 1.0, 1.5).position == pytest.approx(2.0)


def test_a_knot_in_the_past_makes_the_state_before_irrelevant():
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
