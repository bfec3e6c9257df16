# SPDX-License-Identifier: Apache-2.0
import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from groot_ros.robot import UnitMap

finite = st.floats(-1e3, 1e3)
scales = st.floats(1e-3, 1e3)
maps = st.builds(UnitMap, st.sampled_from([1.0, -1.0]), scales, st.floats(-10, 10))


@given(maps, st.lists(finite, min_size=1, max_size=5))
def test_the_map_is_invertible_in_both_directions(units, values):
    np.testing.assert_allclose(units.to_si(units.to_model(values)), values, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(units.to_model(units.to_si(values)), values, rtol=1e-9, atol=1e-6)


@given(maps, finite, finite)
def test_only_the_sign_determines_the_direction(units, a, b):
    assume(abs(a - b) > 1e-6)
    rises = units.to_model(max(a, b)) > units.to_model(min(a, b))
    assert rises == (units.sign > 0)


@given(
    st.tuples(st.floats(-2, 2), st.floats(-100, 100)),
    st.tuples(st.floats(-2, 2), st.floats(-100, 100)),
)
def test_a_map_through_two_ends_contains_both(closed, opened):
    assume(abs(closed[0] - opened[0]) > 1e-3)
    assume(abs(closed[1] - opened[1]) > 1e-3)
    units = UnitMap.through(closed, opened)
    assert units.to_model([closed[0], opened[0]]) == pytest.approx([closed[1], opened[1]], abs=1e-6)


def test_degrees_with_a_reversed_and_shifted_zero():
    units = UnitMap(sign=-1.0, scale=math.degrees(1.0), offset=math.pi / 2)
    assert units.to_model([math.pi / 2, math.pi, 0.0]) == pytest.approx([0.0, -90.0, 90.0])
    assert units.to_si(90.0) == pytest.approx(0.0)


def test_the_shape_is_kept():
    assert UnitMap().to_model(np.zeros((2, 3, 4))).shape == (2, 3, 4)


@pytest.mark.parametrize(
    "wrong",
    [
        {"sign": 0.0},
        {"sign": 2.0},
        {"scale": 0.0},
        {"scale": -1.0},
        {"scale": math.inf},
        {"scale": math.nan},
        {"offset": math.inf},
        {"offset": math.nan},
    ],
)
def test_a_map_that_cannot_be_inverted_is_an_error(wrong):
    with pytest.raises(ValueError, match="must be"):
        UnitMap(**wrong)
