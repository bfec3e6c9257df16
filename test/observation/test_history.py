# SPDX-License-Identifier: Apache-2.0
"""Items are kept by stamp for a limited time; a small step back is dropped, a large one clears."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from groot_ros.observation.history import RESET_STEP_NS, History


def filled(*stamps, span=1000, capacity=100):
    history = History[str](span, capacity)
    for stamp in stamps:
        history.append(stamp, f"item {stamp}")
    return history


def test_items_older_than_the_span_are_dropped():
    history = filled(0, 400, 1000, 1100, span=700)
    assert list(history.stamps) == [400, 1000, 1100]
    assert history.at(400) == "item 400"


def test_no_more_items_than_the_capacity_are_kept():
    assert list(filled(1, 2, 3, 4, capacity=2).stamps) == [3, 4]


def test_a_stamp_a_little_behind_is_dropped_and_the_history_is_kept():
    history = filled(500, 600)
    assert not history.append(20, "late")
    assert history.append(601, "in order")
    assert list(history.stamps) == [500, 600, 601]


def test_the_same_stamp_again_is_dropped():
    history = filled(1, 5)
    assert not history.append(5, "again")
    assert (list(history.stamps), history.at(5)) == ([1, 5], "item 5")


@pytest.mark.parametrize(("step", "kept"), [(RESET_STEP_NS, 2), (RESET_STEP_NS + 1, 1)])
def test_only_a_stamp_more_than_a_second_behind_clears_the_history(step, kept):
    newest = 5 * RESET_STEP_NS
    history = filled(newest - 1, newest)
    assert history.is_reset_by(newest - step) == (kept == 1)
    history.append(newest - step, "after a reset")
    assert len(history) == kept


@given(st.lists(st.integers(0, 4 * RESET_STEP_NS), max_size=30))
def test_stamps_always_ascend_whatever_their_order(stamps):
    history = History[int](10 * RESET_STEP_NS, 100)
    for stamp in stamps:
        history.append(stamp, stamp)
    assert list(history.stamps) == sorted(set(history.stamps))
    assert all(history.at(stamp) == stamp for stamp in history.stamps)


def test_an_unknown_stamp_is_a_key_error():
    with pytest.raises(KeyError):
        filled(1, 5).at(3)


def test_newer_items_can_be_dropped():
    history = filled(1, 5, 9)
    history.drop_after(5)
    assert list(history.stamps) == [1, 5]


@given(st.sets(st.integers(0, 500), max_size=20), st.integers(-50, 550))
def test_nearest_and_neighbours_agree_with_a_linear_search(stamps, stamp):
    history = filled(*sorted(stamps))
    assert history.nearest(stamp) == min(sorted(stamps), key=lambda s: abs(s - stamp), default=None)
    before = max((s for s in stamps if s <= stamp), default=None)
    after = min((s for s in stamps if s > stamp), default=None)
    assert history.neighbours(stamp) == (before, after)
