# SPDX-License-Identifier: Apache-2.0
"""Observations keep their invariants."""

import math

import numpy as np
import pytest

from groot_ros.core import MalformedError, Observation


def make(images=None, state=None) -> Observation:
    return Observation(
        stamp_ns=5,
        images={"front": np.zeros((1, 4, 6, 3), np.uint8)} if images is None else images,
        state={"arm": np.zeros((1, 5))} if state is None else state,
        instruction="pick",
    )


@pytest.mark.parametrize(
    "frames",
    [
        np.zeros((1, 4, 6, 3), np.float32),
        np.zeros((4, 6, 3), np.uint8),
        np.zeros((1, 4, 6), np.uint8),
        np.zeros((1, 4, 6, 4), np.uint8),
        np.zeros((1, 3, 4, 6), np.uint8),
        np.zeros((0, 4, 6, 3), np.uint8),
        np.zeros((1, 0, 6, 3), np.uint8),
    ],
    ids=lambda frames: f"{frames.dtype}{list(frames.shape)}",
)
def test_an_image_that_is_not_rgb_frames_is_rejected_by_name(frames):
    with pytest.raises(MalformedError, match="image 'wrist'") as error:
        make(images={"front": np.zeros((1, 4, 6, 3), np.uint8), "wrist": frames})
    assert error.value.reason == "bad_image"


def test_views_may_differ_in_size_and_in_history():
    views = {"front": np.zeros((2, 4, 6, 3), np.uint8), "wrist": np.zeros((1, 8, 8, 3), np.uint8)}
    assert make(images=views).images["front"].shape == (2, 4, 6, 3)


@pytest.mark.parametrize("shape", [(5,), (1, 5, 1), ()])
def test_a_state_that_is_not_two_dimensional_is_rejected(shape):
    with pytest.raises(MalformedError, match="state 'arm' must be") as error:
        make(state={"arm": np.zeros(shape)})
    assert error.value.reason == "bad_state"


def test_a_state_that_is_not_finite_is_rejected_with_its_index():
    with pytest.raises(MalformedError, match=r"state 'arm'\[0, 2\] is nan") as error:
        make(state={"arm": [[0.0, 0.0, math.nan]]})
    assert error.value.reason == "non_finite"


def test_the_state_is_double_precision_copied_and_read_only():
    mine = np.ones((1, 5), np.float32)
    observation = make(state={"arm": mine})
    mine[:] = 3
    assert observation.state["arm"].dtype == np.float64
    assert observation.state["arm"].max() == 1.0
    with pytest.raises(ValueError, match="read-only"):
        observation.state["arm"][0, 0] = 2.0
