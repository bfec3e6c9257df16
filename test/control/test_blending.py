# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from groot_ros.control.blending import blend_times, decaying_offset
from groot_ros.control.curve import end_accelerations

OFFSET_P, OFFSET_V = np.array([0.1, -0.2]), np.array([1.0, 0.0])


def test_the_offset_is_complete_at_the_splice_and_zero_after_the_window():
    p, v = decaying_offset(OFFSET_P, OFFSET_V, np.array([0.0, 0.2, 0.5]), np.full(2, 0.2))
    np.testing.assert_allclose(p[0], OFFSET_P)
    np.testing.assert_allclose(v[0], OFFSET_V)
    assert not p[1:].any()
    assert not v[1:].any()


def test_a_position_offset_decays_monotonically():
    p, v = decaying_offset(
        np.array([1.0]), np.array([0.0]), np.linspace(0, 0.25, 50), np.full(1, 0.25)
    )
    assert (np.diff(p[:, 0]) < 0).all()
    assert np.abs(v).max() == pytest.approx(1.5 / 0.25, rel=1e-2)


def test_without_a_window_nothing_is_blended():
    p, v = decaying_offset(OFFSET_P, OFFSET_V, np.array([0.01, 0.02]), np.zeros(2))
    assert not p.any()
    assert not v.any()


def test_each_joint_decays_in_its_own_time():
    p, _ = decaying_offset(OFFSET_P, 0 * OFFSET_V, np.array([0.2]), np.array([0.2, 0.4]))
    assert p[0].tolist() == [0.0, pytest.approx(-0.1)]


def test_a_small_offset_takes_the_window_and_a_large_one_as_long_as_its_acceleration_needs():
    times = blend_times(np.array([0.01, -0.06, 0.5]), np.zeros(3), 0.25, np.full(3, 3.0))
    np.testing.assert_allclose(times, [0.25, np.sqrt(6 * 0.06 / 3.0), 0.375])


@given(
    st.floats(-0.1, 0.1),
    st.floats(-0.5, 0.5),
    st.floats(0.05, 0.4),
    st.floats(1.0, 20.0),
)
def test_a_decay_shorter_than_its_longest_time_keeps_its_acceleration_limit(p, v, window, a):
    (time,) = blend_times(np.array([p]), np.array([v]), window, np.array([a]))
    assert window <= time <= 1.5 * window
    sharpest = np.abs(end_accelerations(p, v, 0.0, 0.0, time)).max()
    assert time == 1.5 * window or sharpest <= a * (1 + 1e-9)
    if time > window:
        shorter = np.linspace(window, time, 100)[:-1]
        assert np.abs(end_accelerations(p, v, 0.0, 0.0, shorter)).max() > a * (1 - 1e-3)
