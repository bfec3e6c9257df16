# SPDX-License-Identifier: Apache-2.0
"""Checks of records raise an error with a code for statistics and a line of text."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from groot_ros.core import MalformedError
from groot_ros.core.invariants import frozen_float_array, require, require_unique


def test_an_error_has_a_reason_to_count_and_a_line_to_read():
    with pytest.raises(MalformedError) as error:
        require(False, "bad_dt", "dt must be positive, not 0")
    assert error.value.reason == "bad_dt"
    assert error.value.detail == "dt must be positive, not 0"
    assert str(error.value) == "bad_dt: dt must be positive, not 0"
    assert isinstance(error.value, ValueError)


def test_a_condition_that_holds_raises_nothing():
    require(True, "bad_dt", "")


@given(st.lists(st.sampled_from("abcd"), max_size=6))
def test_names_are_accepted_exactly_when_all_differ(names):
    if len(set(names)) == len(names):
        require_unique(names, "the chunk")
    else:
        with pytest.raises(MalformedError, match="more than once") as error:
            require_unique(names, "the chunk")
        assert error.value.reason == "duplicate_name"


def test_every_repeated_name_is_listed_once():
    with pytest.raises(MalformedError, match=r"names \['a', 'b'\] more than once"):
        require_unique(["b", "a", "a", "b", "a", "c"], "the chunk")


def test_an_empty_name_has_its_own_reason():
    with pytest.raises(MalformedError) as error:
        require_unique(["a", ""], "the chunk")
    assert error.value.reason == "empty_name"


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_the_first_non_finite_value_is_named_by_its_index(bad):
    values = np.zeros((3, 2))
    values[1, 1] = values[2, 0] = bad
    with pytest.raises(MalformedError, match=rf"positions\[1, 1\] is {bad}") as error:
        frozen_float_array(values, "positions")
    assert error.value.reason == "non_finite"


def test_an_array_is_copied_and_read_only():
    mine = np.array([1, 2], dtype=np.float32)
    kept = frozen_float_array(mine, "x")
    mine[0] = 9
    assert kept.dtype == np.float64
    assert kept.tolist() == [1.0, 2.0]
    with pytest.raises(ValueError, match="read-only"):
        kept[0] = 5.0


def test_text_of_a_message_in_the_detail_cannot_forge_a_line_of_the_log():
    error = MalformedError("unknown_encoding", "'\x1b[2J\nfake line" + "x" * 100_000)
    assert error.detail.startswith(r"'\x1b[2J\nfake line")
    assert len(error.detail) == 1000
    assert "\n" not in str(error)
