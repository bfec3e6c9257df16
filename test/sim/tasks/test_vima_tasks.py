# SPDX-License-Identifier: Apache-2.0
"""Tasks with prompts: scenes, what is held out, moves with and without success, and the expert."""

from collections import Counter

import numpy as np
import pytest

from groot_ros.sim import SimulatedArm
from groot_ros.sim.model import shipped_model
from groot_ros.sim.prompt_objects import (
    CONTAINERS,
    LEVELS,
    ROBOT,
    SHAPES,
    TEXTURES,
    Item,
    choose_item,
    items,
)
from groot_ros.sim.prompt_scene import Move, draw_places, make_scene, table_area
from groot_ros.sim.prompt_table import PromptTable
from groot_ros.sim.prompt_task import oracle
from groot_ros.sim.tasks import (
    default_task,
    load_prompt_task,
    load_task,
    prompt_task_names,
    table_task_names,
)

TASKS = (
    "vima/put_into",
    "vima/rearrange",
    "vima/rotate",
    "vima/texture_of_scene",
    "vima/two_moves",
)


@pytest.fixture(scope="module")
def table():
    return PromptTable(SimulatedArm(0.004, shipped_model(ROBOT)))


def scenes(task, level, count, seed=0):
    return [
        load_prompt_task(task).scene(np.random.default_rng([seed, i]), level) for i in range(count)
    ]


def simple_scene(moves, in_order=False):
    """Return a scene with a star, a bowl, a plate and a bar at known places."""
    kinds = {
        "star": Item("star", "green"),
        "bowl": Item("bowl", "red"),
        "plate": Item("plate", "red"),
        "bar": Item("bar", "blue"),
    }
    places = {
        "star": (0.5, 0.0, 0.3),
        "bowl": (0.5, 0.25, 0.0),
        "plate": (0.5, -0.25, 0.0),
        "bar": (0.4, 0.1, 1.0),
    }
    return make_scene(
        np.random.default_rng(0),
        text="",
        level="placement",
        items=kinds,
        places=places,
        pictures={},
        moves=moves,
        in_order=in_order,
    )


def test_the_tasks_are_found_by_their_names_and_apart_from_those_of_the_other_table():
    assert prompt_task_names() == TASKS
    assert set(table_task_names()).isdisjoint(TASKS)
    assert default_task(ROBOT) is load_task("vima/put_into")
    with pytest.raises(ValueError, match=r"no task 'push' with pictures \(tasks: vima/put_into, "):
        load_prompt_task("push")


def test_an_unknown_level_is_an_error():
    with pytest.raises(ValueError, match="level must be placement or combination, not 'hard'"):
        load_prompt_task("vima/rotate").scene(np.random.default_rng(0), "hard")


def test_the_words_are_those_of_all_texts_without_placeholders():
    assert load_prompt_task("vima/put_into").words == ("into", "put", "the")
    assert load_prompt_task("vima/rotate").words == (
        *("120", "150", "30", "60", "90"),
        *("degrees", "rotate", "the"),
    )


@pytest.mark.parametrize("task", TASKS)
def test_the_same_random_numbers_give_the_same_scene(task):
    for level in LEVELS:
        first, again = scenes(task, level, 3), scenes(task, level, 3)
        assert first == again
        assert first[0] != first[1]


def test_every_shape_and_every_texture_is_held_out_in_some_pairs_and_seen_in_most():
    for shapes in (SHAPES, CONTAINERS):
        held_out = items(shapes, held_out=True)
        assert Counter(item.shape for item in held_out) == dict.fromkeys(shapes, 2)
    textures = Counter(item.texture for item in items(SHAPES, held_out=True))
    assert set(textures) == set(TEXTURES)
    assert max(textures.values()) <= len(SHAPES) // 4


@pytest.mark.parametrize("task", TASKS)
def test_held_out_pairs_are_only_in_scenes_that_test_them(task):
    for scene in scenes(task, "placement", 60):
        assert not [item for item in scene.items.values() if item.is_held_out]
    for scene in scenes(task, "combination", 60):
        named = {n for move in scene.moves for n in (move.name, move.into) if n}
        assert all(scene.items[name].is_held_out for name in named)


@pytest.mark.parametrize("task", TASKS)
def test_pictures_and_labels_are_those_of_the_placeholders_and_objects(task):
    for scene in scenes(task, "placement", 20):
        assert all(f"{{{name}}}" in scene.text for name in scene.pictures)
        assert scene.text.count("{") == len(scene.pictures)
        assert sorted(scene.labels[""].values()) == list(range(1, len(scene.items) + 1))
        assert scene.text in load_prompt_task(task).instructions
        assert len(set(scene.items.values())) == len(scene.items)


def test_labels_do_not_tell_which_object_is_named():
    first = Counter(
        scene.labels[""]["dragged_obj"] for scene in scenes("vima/put_into", "placement", 120)
    )
    assert min(first[1], first[2], first[3]) > 20


def test_a_third_object_of_a_shape_is_not_drawn_and_no_item_twice():
    rng = np.random.default_rng(0)
    two = [Item("star", "red"), Item("star", "blue")]
    with pytest.raises(ValueError, match="no item is left"):
        choose_item(rng, [Item("star", texture) for texture in TEXTURES], two)
    with pytest.raises(ValueError, match="no item is left"):
        choose_item(rng, [two[0]], two[:1])


def test_places_are_within_the_table_or_none_when_it_is_full():
    many = {str(i): Item("crate", "red") for i in range(40)}
    assert draw_places(np.random.default_rng(0), many) is None
    few = draw_places(np.random.default_rng(0), {"a": Item("pan", "red"), "b": Item("bar", "red")})
    area = table_area()
    assert all(area.contains(x, y) for x, y, _ in few.values())


@pytest.mark.parametrize("task", TASKS)
def test_nothing_touches_at_the_start_and_everything_stays_where_it_is(table, task):
    for scene in scenes(task, "placement", 5):
        table.reset(scene)
        table.settle()
        assert table.displaced() == set()
        for name, (x, y, yaw) in scene.places.items():
            np.testing.assert_allclose(table.place(name)[:2], (x, y), atol=0.002)
            assert np.cos(table.place(name)[2] - yaw) > 0.999


def test_objects_that_a_scene_does_not_use_stay_behind_the_wall(table):
    table.reset(scenes("vima/rotate", "placement", 1)[0])
    before = table.layout()
    table.settle()
    away = before[7:].reshape(-1, 7)[:, 0] < -2
    assert 20 < away.sum() < 26
    moved = np.abs(table.layout() - before)[7:].reshape(-1, 7)[away]
    assert moved.max() < 1e-6


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("task", TASKS)
def test_the_expert_succeeds_in_at_least_95_percent_of_the_scenes(table, task, level):
    successes = 0
    for scene in scenes(task, level, 20, seed=1):
        table.reset(scene)
        done = True
        for step, move in enumerate(scene.moves):
            carried = table.carry(*oracle(table, step))
            done = done and carried == move.name and table.fulfilled(move)
        successes += done and table.succeeded and not table.displaced()
    assert successes >= 19


def test_a_pick_next_to_all_objects_moves_nothing(table):
    table.reset(simple_scene([Move("star", into="bowl")]))
    before = table.layout()
    assert table.object_at(0.65, 0.4) is None
    assert table.carry((0.65, 0.4, 0.0), (0.5, 0.25, 0.0)) is None
    np.testing.assert_array_equal(table.layout(), before)
    assert not table.succeeded


def test_the_object_moves_rigidly_with_the_tool_that_picks_it_up_off_its_middle(table):
    table.reset(simple_scene([Move("star", turn=np.pi / 2)]))
    assert table.carry((0.52, 0.0, 0.0), (0.52, 0.0, np.pi / 2)) == "star"
    x, y, yaw = table.place("star")
    np.testing.assert_allclose((x, y), (0.52, -0.02), atol=0.002)
    assert yaw == pytest.approx(0.3 + np.pi / 2, abs=0.02)


def test_success_needs_the_right_object_in_the_right_container(table):
    table.reset(simple_scene([Move("star", into="bowl")]))
    assert table.carry((0.4, 0.1, 0.0), (0.5, 0.25, 0.0)) == "bar"
    assert not table.succeeded
    assert table.displaced() == {"bar"}
    table.reset(simple_scene([Move("star", into="bowl")]))
    table.carry((0.5, 0.0, 0.0), (0.5, -0.25, 0.0))
    assert not table.succeeded
    table.reset(simple_scene([Move("star", into="bowl")]))
    # Less than a bin from the middle is enough; the rim is not.
    table.carry((0.5, 0.0, 0.0), (0.51, 0.26, 0.0))
    assert table.succeeded
    table.reset(simple_scene([Move("star", into="bowl")]))
    table.carry((0.5, 0.0, 0.0), (0.5, 0.33, 0.0))
    assert not table.succeeded


@pytest.mark.parametrize(("error", "success"), [(0, True), (12, True), (-12, True), (18, False)])
def test_a_turn_has_to_be_within_15_degrees(table, error, success):
    table.reset(simple_scene([Move("star", turn=np.deg2rad(120))]))
    table.carry((0.5, 0.0, 0.0), (0.5, 0.0, np.deg2rad(120 + error)))
    assert table.succeeded is success


def test_the_last_move_of_an_object_decides(table):
    there, back = Move("star", into="bowl"), Move("star", to=(0.5, 0.0))
    table.reset(simple_scene([there, back], in_order=True))
    assert not table.fulfilled(there)
    table.carry(*oracle(table, 0))
    assert table.fulfilled(there)
    assert not table.succeeded
    table.carry(*oracle(table, 1))
    assert table.succeeded
