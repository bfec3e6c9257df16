import numpy as np
import pytest

from groot_ros.control.seam import decaying_offset

OFFSET_P, OFFSET_V = np.array([0.1, -0.2]), np.array([1.0, 0.0])


def test_the_offset_is_whole_at_the_splice_and_gone_after_the_window():
    p, v = decaying_offset(OFFSET_P, OFFSET_V, np.array([0.0, 0.2, 0.5]), 0.2)
    np.testing.assert_allclose(p[0], OFFSET_P)
    np.testing.assert_allclose(v[0], OFFSET_V)
    assert not p[1:].any()
    assert not v[1:].any()


def test_a_position_offset_decays_monotonically():
    p, v = decaying_offset(np.array([1.0]), np.array([0.0]), np.linspace(0, 0.25, 50), 0.25)
    assert (np.diff(p[:, 0]) < 0).all()
    assert np.abs(v).max() == pytest.approx(1.5 / 0.25, rel=1e-2)


def test_without_a_window_nothing_is_blended():
    p, v = decaying_offset(OFFSET_P, OFFSET_V, np.array([0.01, 0.02]), 0.0)
    assert not p.any()
    assert not v.any()
