"""Stops of bounded jerk: exact, quickest, and within limits at every instant."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from groot_ros.control.jerk_limits import (
    JointBounds,
    StopTrajectory,
    advance,
    gentle_stop,
    quickest_stop,
    stop_displacement,
    viable,
    within_bounds,
)

BOUNDS = JointBounds(-1.0, 1.0, 2.0, 10.0, 100.0)
FREE = JointBounds(-1e9, 1e9, 1e9, 10.0, 100.0)


def ended(state, pieces):
    for seconds, jerk in pieces:
        state = advance(state, seconds, jerk)
    return state


@settings(max_examples=500, deadline=None)
@given(st.floats(-2.0, 2.0), st.floats(-10.0, 10.0), st.sampled_from([0.0, 0.1, 0.3, 1.0]))
def test_a_stop_from_any_speed_ends_at_rest_within_acceleration_and_jerk(v, a, seconds):
    for pieces in (quickest_stop(v, a, FREE), gentle_stop(v, a, seconds, FREE)):
        _, end_v, end_a = ended((0.0, v, a), pieces)
        assert abs(end_v) < 1e-12
        assert abs(end_a) < 1e-12
        assert within_bounds((0.0, v, a), pieces, FREE)
        assert all(seconds * 1e3 == pytest.approx(round(seconds * 1e3)) for seconds, _ in pieces)


@given(st.floats(-2.0, 2.0), st.floats(-10.0, 10.0))
def test_whole_milliseconds_cost_little_of_the_time_optimal_stop(v, a):
    travelled = ended((0.0, v, a), quickest_stop(v, a, FREE))[0]
    best = stop_displacement(v, a, FREE.acceleration, FREE.jerk)
    # The dearest states are those already at the acceleration limit: no whole millisecond fits
    # the instant that the time-optimal stop spends on reaching it (0.0063 on a grid of states).
    assert abs(travelled - best) < 8e-3 * (abs(v) + abs(a) * 0.1) + 1e-6


def test_a_stop_from_constant_speed_ramps_down_holds_and_ramps_back():
    # 0.1 s each way at 100 rad/s3, 10 rad/s2 held for the other 0.1 s of 2 rad/s.
    pieces = quickest_stop(2.0, 0.0, FREE)
    np.testing.assert_allclose(pieces, [(0.1, -100.0), (0.1, 0.0), (0.1, 100.0)], atol=1e-9)


def test_a_gentle_stop_takes_the_time_wanted_where_limits_leave_the_choice():
    assert sum(seconds for seconds, _ in gentle_stop(0.5, 0.0, 0.4, FREE)) == pytest.approx(0.4)
    assert sum(seconds for seconds, _ in gentle_stop(2.0, 0.0, 0.1, FREE)) > 0.29


def test_a_state_is_viable_when_its_quickest_stop_keeps_every_limit():
    # From 1 rad/s: 0.1 s to the peak of 10 rad/s2 and 0.1 s back, 0.1 rad.
    assert viable((0.899, 1.0, 0.0), BOUNDS)
    assert not viable((0.901, 1.0, 0.0), BOUNDS)
    # 5 rad/s2 take 0.05 s to end and add 0.125 rad/s.
    assert viable((0.0, 1.87, 5.0), BOUNDS)
    assert not viable((0.0, 1.88, 5.0), BOUNDS)
    assert not viable((0.0, 0.0, 10.1), BOUNDS)
    assert not viable((1.01, 0.0, 0.0), BOUNDS)


def test_a_turn_inside_a_piece_counts():
    # Thrown towards the limit and pulled back: it turns at 0.05 rad, both ends lie at 0.
    swing = [(0.2, 0.0)]
    assert within_bounds((0.94, 1.0, -10.0), swing, BOUNDS)
    assert not within_bounds((0.96, 1.0, -10.0), swing, BOUNDS)


@settings(max_examples=300, deadline=None)
@given(st.floats(-1.0, 1.0), st.floats(-2.0, 2.0), st.floats(-10.0, 10.0), st.floats(-100.0, 100.0))
def test_what_is_said_to_keep_limits_does_so_when_sampled(p, v, a, jerk):
    pieces = [(0.03, jerk), *quickest_stop(v, a, BOUNDS)]
    t = np.linspace(0.0, 1.0, 201)
    state, beyond = (p, v, a), 0.0
    for seconds, piece in pieces:
        at = advance(tuple(np.full_like(t, x) for x in state), t * seconds, piece)
        for value, bound in zip(at, (1.0, 2.0, 10.0), strict=True):
            beyond = max(beyond, float(np.abs(value).max()) - bound)
        state = advance(state, seconds, piece)
        beyond = max(beyond, abs(piece) - 100.0)
    if abs(beyond) > 1e-4:
        assert within_bounds((p, v, a), pieces, BOUNDS) == (beyond < 0.0)


def test_a_stop_knows_its_state_and_where_its_jerk_changes():
    stop = StopTrajectory(5_000, (0.0, 2.0, 0.0), quickest_stop(2.0, 0.0, FREE))
    assert stop.end_ns == 300_005_000
    assert stop.jerk_changes(5_000, 300_005_000) == [100_005_000, 200_005_000]
    np.testing.assert_allclose(stop.at(100_005_000), (0.2 - 0.1 / 6, 1.5, -10.0))
    assert stop.at(400_000_000) == (pytest.approx(0.3), 0.0, 0.0)
