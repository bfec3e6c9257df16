# SPDX-License-Identifier: Apache-2.0
"""Synchronised frames, compared with a search through every combination."""

from itertools import product

from hypothesis import given
from hypothesis import strategies as st

from groot_ros.observation.image_buffer import synchronised_frames

STAMPS = st.lists(st.integers(0, 60), min_size=1, max_size=6, unique=True).map(sorted)


@given(st.lists(STAMPS, min_size=1, max_size=3), st.integers(0, 30))
def test_no_other_combination_within_the_skew_is_newer_or_less_skewed(cameras, skew):
    stamps = {f"camera {i}": own for i, own in enumerate(cameras)}
    agreeing = [c for c in product(*cameras) if max(c) - min(c) <= skew]
    chosen = synchronised_frames(stamps, skew)
    if not agreeing:
        assert chosen is None
        return
    best = max(agreeing, key=lambda c: (min(c), -sum(c)))
    assert tuple(chosen[name] for name in stamps) == best


def test_a_frame_whose_partner_has_not_arrived_yet_waits():
    assert synchronised_frames({"front": [0, 33, 66], "wrist": [2, 35]}, 10) == {
        "front": 33,
        "wrist": 35,
    }


def test_cameras_out_of_phase_contribute_their_newest_frames_if_the_skew_allows_it():
    stamps = {"front": [0, 33, 66], "wrist": [17, 50]}
    assert synchronised_frames(stamps, 20) == {"front": 66, "wrist": 50}
    assert synchronised_frames(stamps, 15) is None
