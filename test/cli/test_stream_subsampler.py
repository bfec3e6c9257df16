"""A few out of many."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from groot_ros.cli.stream_subsampler import StreamSubsampler, evenly_spaced


@pytest.mark.parametrize(("count", "expected"), [(1, [0]), (2, [0, 9]), (4, [0, 3, 6, 9])])
def test_a_few_are_taken_evenly(count: int, expected: list[int]) -> None:
    assert evenly_spaced(range(10), count) == expected


@given(length=st.integers(1, 3000), count=st.integers(2, 40))
def test_a_stream_of_any_length_is_thinned_evenly_in_bounded_memory(
    length: int, count: int
) -> None:
    spread: StreamSubsampler[int] = StreamSubsampler(count)
    most = 0
    for number in range(length):
        spread.add(number)
        most = max(most, spread.held)
    chosen = spread.chosen()
    assert most <= 2 * count + 1
    assert len(chosen) == min(length, count)
    assert (chosen[0], chosen[-1]) == (0, length - 1)
    gaps = [b - a for a, b in pairwise(chosen)]
    assert all(gap >= 1 for gap in gaps)
    assert max(gaps, default=0) <= 3 * max(1.0, (length - 1) / (count - 1))


def test_a_short_stream_is_taken_as_from_a_list() -> None:
    spread: StreamSubsampler[int] = StreamSubsampler(4)
    for number in range(8):
        spread.add(number)
    assert spread.chosen() == evenly_spaced(range(8), 4)
