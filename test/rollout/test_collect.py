# SPDX-License-Identifier: Apache-2.0
"""Collected data sets: what the expert did, in the units of the checkpoint, repeatable."""

import json
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest

from groot_ros.core.share import demo_checkpoint, robot_path
from groot_ros.datasets import DatasetError
from groot_ros.datasets.check import check_dataset
from groot_ros.datasets.from_bags import ConversionSettings, convert_bags
from groot_ros.datasets.rows import RowSettings
from groot_ros.datasets.to_bag import write_bag
from groot_ros.datasets.video import decode_frames
from groot_ros.robot import load_contract
from groot_ros.rollout.closed_loop import LoopSettings
from groot_ros.rollout.collect import CollectSettings, collect, record_episode, simulate_episode
from groot_ros.sim.disturbance import UNDISTURBED, DisturbanceSettings
from groot_ros.sim.tasks import load_table_task

CONTRACT = load_contract(robot_path("so101_table"))
SETTINGS = CollectSettings("pick_place", seed=2, size=(64, 48))
DEMO = str(demo_checkpoint())


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    out = tmp_path_factory.mktemp("data") / "pick"
    collection = collect(SETTINGS, 3, out, jobs=1)
    assert (len(collection.episodes), collection.failed) == (3, [])
    return out


def rows_of(dataset, episode):
    return pq.read_table(dataset / f"data/chunk-000/episode_{episode:06d}.parquet").to_pydict()


def test_the_rows_are_the_states_and_commands_of_the_episode(dataset):
    episode = simulate_episode(load_table_task("pick_place"), 1, 0, SETTINGS)
    rows = rows_of(dataset, 1)
    state = np.array(rows["observation.state"])
    assert len(state) == len(episode.states)
    np.testing.assert_allclose(
        state[:, :5], CONTRACT.state_to_model("single_arm", episode.states[:, :5]), rtol=1e-5
    )
    action = np.array(rows["action"])
    np.testing.assert_allclose(np.radians(action[:, :5]), episode.actions[:, :5], atol=1e-5)
    assert rows["next.success"] == [False] * (len(state) - 1) + [True]
    for view, images in episode.images.items():
        path = dataset / f"videos/chunk-000/observation.images.{view}/episode_000001.mp4"
        decoded = next(iter(decode_frames(path, [10]))).astype(int)
        errors = [np.abs(decoded - image).mean() for image in images[:20]]
        assert int(np.argmin(errors)) == 10
        assert errors[10] < 10


def test_the_gripper_is_commanded_to_two_positions_only(dataset):
    gripper = {round(a[5], 2) for a in rows_of(dataset, 0)["action"][1:]}
    assert len(gripper) == 2


def test_the_episode_ends_with_a_horizon_of_rest(dataset):
    action = np.array(rows_of(dataset, 0)["action"])
    assert np.abs(np.diff(np.radians(action[-15:, :5]), axis=0)).max() < 0.08


def test_a_push_ends_in_motion_as_rest_would_look_like_its_beginning():
    settings = CollectSettings("push", 4, (16, 16), UNDISTURBED)
    episode = simulate_episode(load_table_task("push"), 0, 0, settings)
    assert episode.succeeded
    assert np.abs(episode.actions[-1] - episode.actions[-2]).max() > 0.01


def test_the_labels_lie_on_the_named_cube(dataset):
    task = load_table_task("pick_place")
    quiet = CollectSettings("pick_place", seed=2, size=(96, 96), disturbances=UNDISTURBED)
    episode = simulate_episode(task, 0, 0, quiet)
    u, v = episode.labels["front"][0, :2]
    pixel = episode.images["front"][0, int(v * 96), int(u * 96)].astype(int)
    channel = {"red": 0, "green": 1, "blue": 2}[episode.instruction.split()[2]]
    assert pixel.argmax() == channel
    assert pixel[channel] > 1.5 * np.delete(pixel, channel).max()
    assert set(episode.labels) == {"front", "wrist"}
    assert np.isfinite(episode.labels["wrist"]).all()


def test_the_description_says_how_fast_and_where_labels_are(dataset):
    info = json.loads((dataset / "meta/info.json").read_text())
    assert (info["fps"], info["total_episodes"]) == (10, 3)
    assert info["features"]["label.front"]["names"] == ["cube.u", "cube.v", "goal.u", "goal.v"]
    modality = json.loads((dataset / "meta/modality.json").read_text())
    assert set(modality["action"]) == {"single_arm", "gripper"}


def test_the_check_of_data_sets_finds_nothing(dataset):
    assert check_dataset(dataset, horizon=16, jobs=1) == []


def test_the_same_seed_gives_the_same_episodes_and_another_seed_gives_others(dataset, tmp_path):
    collect(SETTINGS, 1, tmp_path / "again", jobs=1)
    first = rows_of(dataset, 0)
    assert rows_of(tmp_path / "again", 0)["action"] == first["action"]
    other = CollectSettings("pick_place", seed=3, size=(64, 48))
    collect(other, 1, tmp_path / "other", jobs=1)
    assert rows_of(tmp_path / "other", 0)["action"] != first["action"]


def test_disturbances_change_what_the_arm_does_and_the_expert_still_succeeds():
    task = load_table_task("pick_place")
    rough = DisturbanceSettings(noise=0.02, kicks=0.1, shifts=1.0, drops=1.0)
    for index in range(2):
        settings = CollectSettings("pick_place", size=(16, 16), disturbances=rough)
        calm = CollectSettings("pick_place", size=(16, 16), disturbances=UNDISTURBED)
        disturbed = simulate_episode(task, index, 0, settings)
        plain = simulate_episode(task, index, 0, calm)
        assert disturbed.succeeded
        assert len(disturbed.states) > len(plain.states)
        # The recorded commands are clean: what was done differs from them.
        gap = np.abs(disturbed.states[1:, :5] - disturbed.actions[1:, :5]).max(axis=1)
        assert np.median(gap) > 4 * np.median(np.abs(plain.states[1:, :5] - plain.actions[1:, :5]))


def test_after_a_policy_the_expert_takes_over_and_only_its_rows_are_recorded():
    size = (64, 64)
    settings = CollectSettings(
        "pick_place",
        seed=4,
        size=size,
        disturbances=UNDISTURBED,
        checkpoint=DEMO,
        policy_options={"torch_threads": 1},
    )
    task = load_table_task("pick_place")
    for index in range(8):
        # None where the policy has left nothing to do.
        episode = simulate_episode(task, index, 0, settings)
        if episode is not None and episode.succeeded:
            break
    alone = simulate_episode(task, index, 0, CollectSettings("pick_place", 4, size, UNDISTURBED))
    assert episode.succeeded
    assert np.abs(episode.states[0] - alone.states[0]).max() > 0.05
    assert episode.after_policy
    assert not alone.after_policy
    # It has at most the time of the whole task: it never repeats what the policy did.
    assert len(episode.states) <= 120


def test_a_policy_whose_chunks_come_too_late_leaves_everything_to_the_expert():
    settings = CollectSettings(
        "push",
        seed=4,
        size=(64, 64),
        disturbances=UNDISTURBED,
        checkpoint=DEMO,
        policy_options={"torch_threads": 1},
        loop=LoopSettings(delay=100.0),
    )
    task = load_table_task("push")
    late = simulate_episode(task, 0, 0, settings)
    alone = simulate_episode(task, 0, 0, CollectSettings("push", 4, (64, 64), UNDISTURBED))
    np.testing.assert_allclose(late.states[0], alone.states[0], atol=1e-3)
    prompt = simulate_episode(task, 0, 0, replace(settings, loop=LoopSettings(rtc_mode="native")))
    assert prompt is None or np.abs(prompt.states[0] - alone.states[0]).max() > 0.05


def test_an_episode_of_which_the_policy_leaves_nothing_is_left_out(tmp_path, monkeypatch):
    monkeypatch.setattr("groot_ros.rollout.collect.simulate_episode", lambda *_: None)
    assert record_episode(0, SETTINGS, tmp_path) == (None, 5)
    with pytest.raises(DatasetError, match="in 2 the policy left nothing to do for the expert"):
        collect(SETTINGS, 2, tmp_path / "nothing", jobs=1)
    assert not (tmp_path / "nothing").exists()


def test_an_episode_in_which_only_the_expert_fails_is_an_error(tmp_path, monkeypatch):
    episode = simulate_episode(load_table_task("reach"), 0, 0, CollectSettings("reach"))
    failed = replace(episode, succeeded=False)
    monkeypatch.setattr("groot_ros.rollout.collect.simulate_episode", lambda *_: failed)
    with pytest.raises(DatasetError, match="the expert failed in each of 5 scenes"):
        record_episode(0, SETTINGS, tmp_path)
    scenes = iter([failed, None, failed, failed, failed])
    monkeypatch.setattr("groot_ros.rollout.collect.simulate_episode", lambda *_: next(scenes))
    assert record_episode(0, SETTINGS, tmp_path) == (None, 5)


def test_an_existing_folder_is_an_error(dataset):
    with pytest.raises(DatasetError, match="already exists"):
        collect(SETTINGS, 1, dataset, jobs=1)


def test_recorded_as_messages_in_a_bag_and_converted_the_rows_are_the_same(dataset, tmp_path):
    bag = write_bag(dataset, tmp_path, 0)
    settings = ConversionSettings(RowSettings(fps=10, trim_idle=False))
    convert_bags([bag], tmp_path / "again", settings, jobs=1)
    direct, converted = rows_of(dataset, 0), rows_of(tmp_path / "again", 0)
    for column in ("observation.state", "action"):
        np.testing.assert_allclose(converted[column], direct[column], atol=1e-3)
    assert converted["next.success"] == direct["next.success"]
