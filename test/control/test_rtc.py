"""How strongly each step of a chunk is held to committed motion."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from groot_ros.control.rtc import guidance_weights, ramp, schedule
from groot_ros.core import RtcMode


@st.composite
def sizes(draw):
    steps = draw(st.integers(1, 64))
    overlap = draw(st.integers(0, steps))
    return steps, draw(st.integers(0, overlap)), overlap


@given(sizes())
def test_weights_are_one_while_frozen_then_fall_to_zero(size):
    steps, frozen, overlap = size
    weights = guidance_weights(steps, frozen, overlap)
    assert (weights[:frozen] == 1.0).all()
    assert (np.diff(weights[frozen:]) <= 0.0).all()
    assert ((weights[frozen:overlap] > 0.0) & (weights[frozen:overlap] < 1.0)).all()
    assert (weights[overlap:] == 0.0).all()


def test_weights_leave_and_arrive_without_a_corner():
    """H = 16, d = 4, s = 6: the share of the overlap that is left is (10 - i) / 7."""
    left = np.array([6, 5, 4, 3, 2, 1]) / 7
    weights = guidance_weights(16, 4, 10)
    np.testing.assert_allclose(weights[4:10], 3 * left**2 - 2 * left**3, rtol=1e-12)
    drops = -np.diff(weights)
    assert drops[3] < 0.06
    assert drops[9] < 0.06
    assert drops.max() < 0.22


@given(sizes())
def test_the_velocity_is_frozen_then_returns(size):
    steps, frozen, overlap = size
    strength = ramp(steps, frozen, overlap)
    assert (strength[:frozen] == 0.0).all()
    assert (np.diff(strength) >= 0.0).all()
    assert ((strength[frozen:overlap] > 0.0) & (strength[frozen:overlap] < 1.0)).all()
    assert (strength[overlap:] == 1.0).all()


@pytest.mark.parametrize("mode", list(RtcMode))
def test_without_anything_to_continue_every_mode_is_plain_sampling(mode):
    plain = schedule(mode, 8, 0, 0)
    assert not plain.start.any()
    assert not plain.weight.any()
    assert not plain.clean.any()
    assert (plain.strength == 1.0).all()


def test_a_network_trained_for_it_sees_frozen_steps_as_finished_and_nothing_else():
    trained = schedule(RtcMode.TRAINED, 6, 2, 4)
    np.testing.assert_array_equal(trained.clean, [1, 1, 0, 0, 0, 0])
    np.testing.assert_array_equal(trained.start, trained.clean)
    np.testing.assert_array_equal(trained.strength, 1 - trained.clean)
    assert not trained.weight.any()
