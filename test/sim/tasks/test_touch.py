# SPDX-License-Identifier: Apache-2.0
"""The touch task: instructions, layout of the cubes, distances, and the registry of tasks."""

import numpy as np
import pytest

from groot_ros.sim.tasks import default_task, load_task, task_names
from groot_ros.sim.tasks.touch import (
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
def test_any_other_instruction_is_an_error_that_lists_the_valid_ones(text):
    with pytest.raises(
        ValueError, match="valid instructions: touch the red cube, touch the green cube"
    ):
        instructed_cube(text)


def test_cubes_are_placed_within_the_jitter_and_repeatably_for_a_seed():
    usual = np.array(list(place_cubes().values()))
    scattered = np.array(list(place_cubes(np.random.default_rng(5)).values()))
    again = np.array(list(place_cubes(np.random.default_rng(5)).values()))
    assert (scattered == again).all()
    assert 0.001 < np.abs(scattered - usual).max() <= 0.01


def test_the_distance_at_the_touch_point_is_the_touch_height():
    cube = np.array([0.2, 0.1, 0.015])
    reached = distance_to_cube(touch_point(cube), {"red": cube}, "red")
    assert reached == pytest.approx(TOUCH_HEIGHT)


def test_the_registry_finds_the_task_by_the_name_of_its_module():
    assert task_names() == (
        *("pick_place", "push", "reach", "touch"),
        *("vima/put_into", "vima/rearrange", "vima/rotate"),
        *("vima/texture_of_scene", "vima/two_moves"),
    )
    assert load_task("touch") is load_task()
    assert load_task().instructions == INSTRUCTIONS


def test_it_is_the_task_of_the_so101_and_of_no_other_robot():
    assert default_task("so101") is load_task("touch")
    assert default_task("arm7") is None


def test_an_unknown_task_is_an_error_that_lists_the_tasks():
    with pytest.raises(
        ValueError,
        match=r"no simulator task 'stack' \(tasks: pick_place, push, reach, touch, vima/put_into,",
    ):
        load_task("stack")


def test_the_task_places_the_cubes_as_its_module_does():
    placed = load_task().place_cubes(np.random.default_rng(5))
    assert placed == place_cubes(np.random.default_rng(5))


def test_the_task_measures_the_instructed_cube_and_nothing_for_home():
    cubes = {"red": np.array([0.2, 0.1, 0.015])}
    task = load_task()
    point = touch_point(cubes["red"])
    assert task.distance("touch the red cube", point, cubes) == pytest.approx(TOUCH_HEIGHT)
    assert np.isnan(task.distance("go home", point, cubes))


@pytest.mark.parametrize(("distance", "success"), [(0.025, True), (0.04, True), (0.041, False)])
def test_a_cube_is_touched_within_4_cm(distance, success):
    assert load_task().succeeded(distance) is success
