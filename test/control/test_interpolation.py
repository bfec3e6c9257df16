import numpy as np
import pytest

from groot_ros.control.curve import (
    cubic,
    end_accelerations,
    knot_accelerations,
    knot_velocities,
    quintic,
    refine,
)

RNG = np.random.default_rng(0)


def ends(count):
    return [RNG.normal(size=(5, 3)) for _ in range(count)]


def test_a_cubic_segment_meets_positions_and_velocities_at_both_ends():
    p0, v0, p1, v1 = ends(4)
    for tau, position, velocity in ((0.0, p0, v0), (1.0, p1, v1)):
        p, v = cubic(p0, v0, p1, v1, 0.3, np.float64(tau))
        np.testing.assert_allclose(p, position, atol=1e-14)
        np.testing.assert_allclose(v, velocity, atol=1e-14)


def test_cubic_velocity_and_end_accelerations_are_the_derivatives_of_position():
    p0, v0, p1, v1 = ends(4)
    h, e = 0.3, 1e-4

    def p(tau):
        return cubic(p0, v0, p1, v1, h, np.float64(tau))[0]

    slope = (p(0.4 + e) - p(0.4 - e)) / (2 * e * h)
    np.testing.assert_allclose(cubic(p0, v0, p1, v1, h, np.float64(0.4))[1], slope, atol=1e-6)
    a0, a1 = end_accelerations(p0, v0, p1, v1, h)
    np.testing.assert_allclose((p(0) - 2 * p(e) + p(2 * e)) / (e * h) ** 2, a0, rtol=0.01)
    np.testing.assert_allclose((p(1) - 2 * p(1 - e) + p(1 - 2 * e)) / (e * h) ** 2, a1, rtol=0.01)


def test_a_quintic_segment_meets_accelerations_too_and_its_velocity_is_its_slope():
    p0, v0, a0, p1, v1, a1 = ends(6)
    h, e = 0.3, 1e-4

    def at(tau):
        return quintic(p0, v0, a0, p1, v1, a1, h, np.float64(tau))

    np.testing.assert_allclose(at(0.0), (p0, v0), atol=1e-13)
    np.testing.assert_allclose(at(1.0), (p1, v1), atol=1e-12)
    slope = (at(0.4 + e)[0] - at(0.4 - e)[0]) / (2 * e * h)
    np.testing.assert_allclose(at(0.4)[1], slope, atol=1e-5)
    near = 1e-6
    np.testing.assert_allclose((at(near)[1] - v0) / (near * h), a0, atol=0.01)
    np.testing.assert_allclose((v1 - at(1 - near)[1]) / (near * h), a1, atol=0.01)


def test_knot_velocities_are_exact_for_parabolas_ends_included():
    t = 0.1 * np.arange(6)[:, None]
    np.testing.assert_allclose(knot_velocities(2 + 3 * t - t**2, 0.1), 3 - 2 * t, atol=1e-12)
    np.testing.assert_allclose(knot_accelerations(2 + 3 * t - t**2, 0.1), -2.0, atol=1e-11)


def test_one_knot_rests_and_two_move_along_a_line():
    assert knot_velocities(np.ones((1, 2)), 0.1).tolist() == [[0.0, 0.0]]
    np.testing.assert_allclose(knot_velocities(np.array([[0.0], [0.2]]), 0.1), [[2.0], [2.0]])
    fine, speed = refine(np.ones((1, 2)), 0.1, 3, ["cubic", "linear"])
    assert fine.tolist() == [[1.0, 1.0]]
    assert speed.tolist() == [[0.0, 0.0]]


@pytest.mark.parametrize("method", ["linear", "cubic", "quintic"])
def test_the_chunks_own_steps_are_knots_of_every_interpolation(method):
    steps = RNG.normal(size=(7, 2))
    positions, velocities = refine(steps, 0.1, 3, [method] * 2)
    assert positions.shape == velocities.shape == (19, 2)
    np.testing.assert_array_equal(positions[::3], steps)


def test_each_joint_is_interpolated_by_its_own_method():
    t = 0.1 * np.arange(8)[:, None]
    steps = np.sin(3 * t) * np.ones((1, 3))
    fine_t = np.linspace(0, 0.7, 29)
    positions, velocities = refine(steps, 0.1, 4, ["linear", "cubic", "quintic"])
    inside = (fine_t > 0.15) & (fine_t < 0.55)
    off = np.abs(positions - np.sin(3 * fine_t)[:, None])[inside].max(axis=0)
    assert 5e-3 < off[0] < 2e-2
    assert off[1] < 1e-3
    assert off[2] < 1e-3
    # A chord of the line has its slope everywhere but at the corners.
    np.testing.assert_allclose(velocities[1:4, 0], (steps[1, 0] - steps[0, 0]) / 0.1)
    np.testing.assert_allclose(velocities[4, 0], (steps[2, 0] - steps[0, 0]) / 0.2)
