# SPDX-License-Identifier: Apache-2.0
"""Training data of tasks with prompts: repeatable, and equal objects in both views."""

import json

import mujoco
import numpy as np
import pytest

from groot_ros.datasets import DatasetError
from groot_ros.rollout.pose_bins import BINS, from_bins
from groot_ros.rollout.prompt_collect import (
    PromptCollectSettings,
    collect_prompts,
    record_prompt_episode,
)
from groot_ros.rollout.prompt_episode import SIZE, VIEWS, prompt_table, take_pictures
from groot_ros.rollout.simulation import COLLECTED, EVALUATED, episode_rng, simulator
from groot_ros.sim.prompt_task import oracle
from groot_ros.sim.tasks import load_prompt_task, prompt_task_names

TASKS = prompt_task_names()


def recorded(folder, task, index=0, **settings):
    record_prompt_episode(index, PromptCollectSettings(task, **settings), folder)
    with np.load(folder / f"episode_{index:06d}.npz") as file:
        return dict(file)


def pixel(model, view, point):
    """Return row and column at which a camera shows a point of space."""
    camera = model.camera(view)
    rotation = np.zeros(9)
    mujoco.mju_quat2Mat(rotation, camera.quat)
    x, y, z = rotation.reshape(3, 3).T @ (point - camera.pos)
    width, height = SIZE
    scale = height / 2 / np.tan(np.deg2rad(camera.fovy[0]) / 2)
    return round(height / 2 - scale * y / -z - 0.5), round(width / 2 + scale * x / -z - 0.5)


@pytest.mark.parametrize("task", TASKS)
def test_both_views_label_the_same_objects_with_the_same_numbers(task):
    table = prompt_table()
    for seed in range(4):
        scene = load_prompt_task(task).scene(np.random.default_rng(seed))
        table.reset(scene)
        for picture in ("", *scene.pictures):
            views, labels = take_pictures(picture), scene.labels[picture]
            places = scene.pictures[picture] if picture else scene.places
            for view, shown in views.items():
                assert set(np.unique(shown.labels)) == {0, *labels.values()}, (view, picture)
                for name, (x, y, _) in places.items():
                    # The middle of a ring is not its own.
                    if not scene.items[name].is_container:
                        at = pixel(table.arm.model, view, np.array([x, y, 0.03]))
                        assert shown.labels[at] == labels[name], (view, picture, name)


def test_the_arm_is_not_in_the_pictures():
    table = prompt_table()
    scene = load_prompt_task("vima/rotate").scene(np.random.default_rng(0))
    table.reset(scene)
    before = take_pictures()
    table.arm.place_joints([0.3, 0.5, 0.0, -1.8, 0.0, 2.3, 0.0, 0.0])
    for view, shown in take_pictures().items():
        np.testing.assert_array_equal(shown.image, before[view].image)
        np.testing.assert_array_equal(shown.labels, before[view].labels)


def test_pictures_show_the_table_after_the_process_has_simulated_other_robots():
    table = prompt_table()
    table.reset(load_prompt_task("vima/put_into").scene(np.random.default_rng(1)))
    before = take_pictures()
    for size in ((16, 16), (24, 16), (32, 16)):
        simulator("so101", size)
    assert prompt_table() is table
    for view, shown in take_pictures().items():
        np.testing.assert_array_equal(shown.labels, before[view].labels)


@pytest.mark.parametrize("task", TASKS)
def test_an_episode_has_the_arrays_that_training_reads(tmp_path, task):
    found = recorded(tmp_path, task)
    steps = 2 if task in ("vima/rearrange", "vima/two_moves") else 1
    assert str(found["task"]) == task
    assert str(found["end_effector"]) == "suction"
    for part, bins in BINS.items():
        assert found[f"actions.{part}"].shape == (steps, len(bins))
        assert found[f"actions.{part}"].dtype == np.int64
    assert found["actions.pick_id"].shape == found["actions.place_id"].shape == (steps,)
    assert set(found["actions.pick_id"]) <= set(found["objects.ids"][0])
    objects = found["objects.ids"].shape[1]
    assert found["objects.ids"].shape == (steps, objects)
    for view in VIEWS:
        assert found[f"objects.{view}.crops"].shape == (steps, objects, 3, 32, 32)
        assert found[f"objects.{view}.boxes"].shape == (steps, objects, 4)
        assert found[f"objects.{view}.mask"].all()
        assert found[f"objects.{view}.boxes"].dtype == np.int64
    for name in found["prompt.names"]:
        assert f"{{{name}}}" in str(found["prompt.text"])
        count = len(found[f"prompt.{name}.ids"])
        assert found[f"prompt.{name}.top.crops"].shape == (count, 3, 32, 32)
        assert set(found[f"prompt.{name}.ids"]) <= set(found["objects.ids"][0])
    assert not [name for name in found if name.startswith("rgb.")]


def test_the_action_is_where_the_object_of_the_prompt_is(tmp_path):
    found = recorded(tmp_path, "vima/put_into")
    pick, place = from_bins({part: found[f"actions.{part}"][0] for part in BINS})
    ids = found["objects.ids"][0].tolist()
    assert found["actions.pick_id"] == found["prompt.dragged_obj.ids"]
    assert found["actions.place_id"] == found["prompt.base_obj.ids"]
    for name, pose in (("dragged_obj", pick), ("base_obj", place)):
        slot = ids.index(int(found[f"prompt.{name}.ids"][0]))
        column, row = found["objects.top.boxes"][0, slot, :2]
        at = pixel(prompt_table().arm.model, "top", np.array([*pose[:2], 0.02]))
        assert np.hypot(at[0] - row, at[1] - column) < 8


def test_the_same_seed_gives_the_same_episode_and_another_seed_another(tmp_path):
    folders = [tmp_path / name for name in "abc"]
    for folder in folders:
        folder.mkdir()
    first = recorded(folders[0], "vima/two_moves", index=3)
    recorded(folders[1], "vima/rotate", index=1)
    again = recorded(folders[1], "vima/two_moves", index=3)
    assert first.keys() == again.keys()
    for name, values in first.items():
        np.testing.assert_array_equal(values, again[name], err_msg=name)
    other = recorded(folders[2], "vima/two_moves", index=3, seed=1)
    assert not np.array_equal(first["actions.pose0_position"], other["actions.pose0_position"])


def test_scenes_that_are_evaluated_are_never_collected():
    task = load_prompt_task("vima/put_into")
    one, other = (task.scene(episode_rng(0, 0, use)) for use in (COLLECTED, EVALUATED))
    assert one.places != other.places


def test_a_data_set_states_its_words_bins_and_views(tmp_path):
    out = tmp_path / "data"
    settings = PromptCollectSettings("vima/rotate", seed=4, images=True)
    found = collect_prompts(settings, 2, out, jobs=1)
    assert (found.episodes, found.steps, found.failed) == (2, 2, [])
    meta = json.loads((out / "meta.json").read_text())
    assert (meta["format"], meta["version"], meta["episodes"]) == ("groot_ros_vima", 1, 2)
    assert (meta["tasks"], meta["levels"], meta["seed"]) == (["vima/rotate"], ["placement"], 4)
    assert meta["words"] == list(load_prompt_task("vima/rotate").words)
    assert meta["bins"]["pose1_position"] == [50, 100]
    assert meta["table"] == {"x": [0.25, 0.75], "y": [-0.5, 0.5]}
    with np.load(out / "episode_000001.npz") as file:
        assert file["rgb.top"].shape == (1, 3, 128, 256)
    assert sorted(path.name for path in out.iterdir()) == [
        "episode_000000.npz",
        "episode_000001.npz",
        "meta.json",
    ]
    with pytest.raises(DatasetError, match="already exists"):
        collect_prompts(settings, 1, out, jobs=1)


def test_the_oracle_turns_by_what_is_left_of_the_angle():
    table = prompt_table()
    scene = load_prompt_task("vima/rotate").scene(np.random.default_rng(5))
    table.reset(scene)
    pick, place = oracle(table, 0)
    table.carry(pick, (*place[:2], place[2] - 0.3))
    assert oracle(table, 0)[1][2] == pytest.approx(0.3, abs=0.01)
