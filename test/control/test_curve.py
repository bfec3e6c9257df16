# SPDX-License-Identifier: Apache-2.0
"""Curves and their interpolation."""

import numpy as np
import pytest
from support.control_bench import EPOCH_NS

from groot_ros.control.curve import (
    Curve,
    cubic,
    end_accelerations,
    knot_accelerations,
    knot_velocities,
    quintic,
    refine,
)

TIMES = EPOCH_NS + np.array([0, 10, 25, 60], dtype=np.int64) * 1_000_000


@pytest.fixture
def curve():
    rng = np.random.default_rng(1)
    return Curve(TIMES, rng.normal(size=(4, 2)), rng.normal(size=(4, 2)))


def test_a_curve_passes_through_its_knots(curve):
    positions, velocities = curve.sample(TIMES)
    np.testing.assert_allclose(positions, curve.positions, atol=1e-15)
    np.testing.assert_allclose(velocities, curve.velocities, atol=1e-12)


def test_outside_its_knots_a_curve_holds_its_end_positions(curve):
    for t, end in ((TIMES[0] - 5, 0), (TIMES[-1] + 5, -1)):
        position, velocity = curve.at(int(t))
        np.testing.assert_allclose(position, curve.positions[end])
        assert velocity.tolist() == [0.0, 0.0]


def test_one_time_and_one_time_per_joint_give_the_same_bits_as_a_sample():
    rng = np.random.default_rng(2)
    times = EPOCH_NS + np.cumsum(rng.integers(1, 17_000_000, 40))
    curve = Curve(times, rng.normal(size=(40, 7)), rng.normal(size=(40, 7)))
    for t in (*times, *rng.integers(times[0] - 10**7, times[-1] + 10**7, 300)):
        position, velocity = curve.at(int(t))
        positions, velocities = curve.sample([int(t)])
        assert position.tobytes() == positions[0].tobytes()
        assert velocity.tobytes() == velocities[0].tobytes()
        assert curve.positions_at(np.full(7, t)).tobytes() == position.tobytes()
    each = rng.integers(times[0], times[-1], 7)
    expected = [curve.at(int(t))[0][joint] for joint, t in enumerate(each)]
    assert curve.positions_at(each).tolist() == expected


@pytest.mark.parametrize("ms", [3, 10, 31])
def test_cutting_a_curve_does_not_change_it(curve, ms):
    cut = EPOCH_NS + ms * 1_000_000
    before, after = curve.until(cut), curve.since(cut)
    assert before.end_ns == after.start_ns == cut
    assert (np.diff(before.times) > 0).all()
    assert (np.diff(after.times) > 0).all()
    t = np.arange(TIMES[0], TIMES[-1], 1_000_000)
    for part, where in ((before, t < cut), (after, t >= cut)):
        for got, expected in zip(part.sample(t[where]), curve.sample(t), strict=True):
            np.testing.assert_allclose(got, expected[where], atol=1e-12)


def test_a_cut_beyond_the_end_holds_the_last_position(curve):
    longer = curve.until(int(TIMES[-1]) + 1_000_000)
    np.testing.assert_array_equal(longer.positions[-1], longer.positions[-2])
    assert longer.velocities[-1].tolist() == [0.0, 0.0]


def test_a_cut_before_the_start_changes_nothing(curve):
    assert curve.since(int(TIMES[0]) - 1) is curve


def test_columns_selects_joints_in_the_given_order(curve):
    np.testing.assert_array_equal(curve.columns([1, 0]).positions, curve.positions[:, ::-1])


def test_a_nanosecond_is_resolved_at_present_absolute_times():
    line = Curve(TIMES[:2], np.array([[0.0], [1.0]]), np.array([[100.0], [100.0]]))
    position, _ = line.at(int(TIMES[0]) + 1)
    assert position[0] == pytest.approx(1e-7, abs=1e-15)


def test_rms_acceleration_is_the_root_mean_square_of_the_segment_ends():
    t = np.array([0.0, 0.1, 0.2])
    # x' = max(0, t - 0.1): accelerations 0, 0, 1, 1 at the ends of the segments.
    p, v = np.maximum(t - 0.1, 0.0) ** 2 / 2, np.maximum(t - 0.1, 0.0)
    curve = Curve(np.round(t * 1e9).astype(np.int64), np.outer(p, [1, -3]), np.outer(v, [1, -3]))
    np.testing.assert_allclose(curve.rms_acceleration(), np.sqrt([1 / 2, 9 / 2]))


RNG = np.random.default_rng(0)


def ends(count):
    return [RNG.normal(size=(5, 3)) for _ in range(count)]


def test_a_cubic_segment_has_the_given_positions_and_velocities_at_both_ends():
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


def test_a_quintic_segment_has_the_given_accelerations_and_a_consistent_velocity():
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


def test_knot_velocities_are_exact_for_parabolas_including_the_ends():
    t = 0.1 * np.arange(6)[:, None]
    np.testing.assert_allclose(knot_velocities(2 + 3 * t - t**2, 0.1), 3 - 2 * t, atol=1e-12)
    np.testing.assert_allclose(knot_accelerations(2 + 3 * t - t**2, 0.1), -2.0, atol=1e-11)


def test_one_knot_has_velocity_zero_and_two_have_the_velocity_of_a_line():
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
    # Linear motion has the slope of its segment everywhere except at the corners.
    np.testing.assert_allclose(velocities[1:4, 0], (steps[1, 0] - steps[0, 0]) / 0.1)
    np.testing.assert_allclose(velocities[4, 0], (steps[2, 0] - steps[0, 0]) / 0.2)
