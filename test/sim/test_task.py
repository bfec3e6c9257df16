import numpy as np
import pytest

from groot_ros.sim.task import (
    INSTRUCTIONS,
    TOUCH_HEIGHT,
    distance_to_cube,
    instructed_cube,
    place_cubes,
    touch_point,
)


def test_every_instruction_names_a_cube_or_home():
    cubes = ["red", "green", "blue", None]
    assert [instructed_cube(instruction) for instruction in INSTRUCTIONS] == cubes


def test_case_punctuation_and_spaces_do_not_matter():
    assert instructed_cube("  Touch the  RED cube! ") == "red"
    assert instructed_cube("Go home.") is None


@pytest.mark.parametrize("text", ["", "touch the pink cube", "red"])
def test_anything_else_is_an_error_that_lists_the_instructions(text):
    with pytest.raises(ValueError, match="none of: touch the red cube, touch the green cube"):
        instructed_cube(text)


def test_cubes_scatter_within_the_jitter_and_the_same_seed_scatters_the_same():
    usual = np.array(list(place_cubes().values()))
    scattered = np.array(list(place_cubes(np.random.default_rng(5)).values()))
    again = np.array(list(place_cubes(np.random.default_rng(5)).values()))
    assert (scattered == again).all()
    assert 0.001 < np.abs(scattered - usual).max() <= 0.01


def test_the_distance_over_the_touch_point_is_the_touch_height():
    cube = np.array([0.2, 0.1, 0.015])
    reached = distance_to_cube(touch_point(cube), {"red": cube}, "red")
    assert reached == pytest.approx(TOUCH_HEIGHT)
