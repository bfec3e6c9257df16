# SPDX-License-Identifier: Apache-2.0
"""Training of VIMA: data, batches, loss and error; whole runs are in test/training."""

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.tiny_vima import tiny_config
from support.vima_data import BINS, IDENTITY, VIEWS, WORDS, write_vima_data

from groot_ros.core.config_reader import ConfigError
from groot_ros.families.vima.actions import PickPlace, TableBounds, TablePose, pick_place
from groot_ros.families.vima.checkpoint import random_network
from groot_ros.families.vima.config import PARTS
from groot_ros.families.vima.episodes import VimaData, VimaEpisode, read_data
from groot_ros.families.vima.placement import (
    StepError,
    compare,
    distances,
    placement_error,
    step_error,
    turn_error,
)
from groot_ros.families.vima.policy import VimaPolicy
from groot_ros.families.vima.prompt import word_tokenizer
from groot_ros.families.vima.small_checkpoint import initialise, small_config
from groot_ros.families.vima.training import Trainer
from groot_ros.vision.augmentation import Augmentation
from groot_ros.vision.objects import Objects

pytest.importorskip("transformers", reason="transformers is not installed")
# Importing transformers takes seconds.
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> VimaData:
    """Return episodes of one and of two steps, with 3, 4 and 5 things."""
    path = tmp_path_factory.mktemp("vima")
    parts = [(3, 1), (4, 1), (5, 2)]
    return read_data(
        [write_vima_data(path / f"{n}", 2, things=n, steps=steps, seed=n) for n, steps in parts]
    )


@pytest.fixture
def trainer() -> Trainer:
    network = random_network(tiny_config(bins=BINS), seed=0)
    generator = torch.Generator().manual_seed(0)
    for parameter in network.parameters():
        if parameter.ndim > 1:
            # Large enough that every input changes the probabilities of the bins.
            parameter.normal_(std=0.4, generator=generator)
    return Trainer(network, word_tokenizer(WORDS))


def session_actions(trainer: Trainer, episode: VimaEpisode) -> list[PickPlace]:
    session = VimaPolicy(trainer.model, word_tokenizer(WORDS)).session(episode.prompt)
    steps = []
    for step in range(episode.steps):
        crops, boxes, mask = (
            {view: array[step] for view, array in arrays.items()}
            for arrays in (episode.objects.crops, episode.objects.boxes, episode.objects.mask)
        )
        steps.append(session.step(Objects((), crops, boxes, mask), episode.end_effector))
    return steps


def test_a_batch_of_unequal_episodes_has_the_loss_of_each_one_alone(
    trainer: Trainer, data: VimaData
) -> None:
    samples = [trainer.training_sample(episode) for episode in data.episodes]
    alone = [float(trainer.loss(trainer.collate([sample]))["loss"]) for sample in samples]
    steps = [episode.steps for episode in data.episodes]
    together = float(trainer.loss(trainer.collate(samples))["loss"])
    assert together == pytest.approx(np.average(alone, weights=steps), rel=1e-5)
    assert np.ptp(alone) > 1e-3


def test_the_trained_network_chooses_the_bins_that_a_session_chooses(
    trainer: Trainer, data: VimaData
) -> None:
    for episode in data.episodes:
        actions = session_actions(trainer, episode)
        # With the session's own actions as the recorded ones, teacher forcing sees what it saw.
        bins = {part: np.array([a.bins[part] for a in actions]) for part in PARTS}
        error = trainer.held_out_error([replace(episode, actions=bins)])
        assert error.placed == 1.0
        assert error.position == 0.0


def test_the_error_of_several_episodes_is_that_of_their_padded_batch(
    trainer: Trainer, data: VimaData
) -> None:
    parts = [trainer.held_out_error([episode]) for episode in data.episodes]
    whole = trainer.held_out_error(data.episodes)
    steps = [episode.steps for episode in data.episodes]
    expected = np.average([part.position for part in parts], weights=steps)
    assert whole.position == pytest.approx(expected, rel=1e-5)
    assert whole.tasks.keys() == {"put_into", "two_moves"}


def test_a_step_is_predicted_from_the_recorded_steps_before_it_only(
    trainer: Trainer, data: VimaData
) -> None:
    def loss(episode: VimaEpisode, *counts: bool) -> float:
        batch = trainer.collate([trainer.training_sample(episode)])
        return float(trainer.loss(replace(batch, counts=torch.tensor([counts])))["loss"])

    episode = data.episodes[-1]
    assert episode.steps == 2
    objects = episode.objects
    first = replace(
        episode,
        objects=Objects(
            (),
            *(
                {view: array[:1] for view, array in arrays.items()}
                for arrays in (objects.crops, objects.boxes, objects.mask)
            ),
        ),
        actions={part: bins[:1] for part, bins in episode.actions.items()},
        identities=None,
        moved=None,
    )
    assert loss(first, True) == pytest.approx(loss(episode, True, False), rel=1e-5)
    actions = {part: bins.copy() for part, bins in episode.actions.items()}
    actions["pose0_rotation"][0] = 0
    other = replace(episode, actions=actions)
    assert abs(loss(other, False, True) - loss(episode, False, True)) > 1e-3


def test_the_auxiliary_loss_teaches_which_things_of_the_prompt_are_on_the_table(
    trainer: Trainer, data: VimaData
) -> None:
    trainer.parameter_groups({})
    batch = trainer.collate([trainer.training_sample(episode) for episode in data.episodes])
    optimiser = torch.optim.Adam(trainer.model.parameters(), 1e-2)
    losses = []
    for _ in range(40):
        optimiser.zero_grad()
        losses.append(trainer.loss(batch)["auxiliary"])
        losses[-1].backward()
        optimiser.step()
    assert float(losses[0].detach()) > 1.0
    assert float(losses[-1].detach()) < 0.3


def test_the_auxiliary_loss_teaches_where_an_action_is_read(data: VimaData) -> None:
    network = random_network(tiny_config(bins=BINS, xf_n_layers=3), seed=0)
    trainer = Trainer(network, word_tokenizer(WORDS))
    trainer.parameter_groups({})
    optimiser = torch.optim.Adam(network.parameters(), 1e-2)
    unknown = [replace(episode, moved=None) for episode in data.episodes]

    def reading_loss() -> torch.Tensor:
        return difference(data.episodes) - difference(unknown)

    def difference(episodes: Sequence[VimaEpisode]) -> torch.Tensor:
        batch = trainer.collate([trainer.training_sample(episode) for episode in episodes])
        return trainer.loss(batch)["auxiliary"]

    before = float(reading_loss().detach())
    for _ in range(60):
        optimiser.zero_grad()
        difference(data.episodes).backward()
        optimiser.step()
    # Three parts, each about the logarithm of 8 tokens at first.
    assert before > 3.0
    assert float(reading_loss().detach()) < 0.5


def test_where_it_is_unknown_what_an_action_moves_training_goes_on(
    trainer: Trainer, data: VimaData
) -> None:
    unknown = [replace(episode, moved=None) for episode in data.episodes]
    batch = trainer.collate([trainer.training_sample(episode) for episode in unknown])
    assert float(trainer.loss(batch)["auxiliary"].detach()) > 0.0


def test_a_new_small_network_gives_every_bin_the_same_probability(data: VimaData) -> None:
    tokenizer = word_tokenizer(WORDS)
    network = random_network(small_config(tokenizer.rows, VIEWS, BINS), seed=0)
    initialise(network, seed=0)
    error = Trainer(network, tokenizer).held_out_error(data.episodes)
    # Of the target's distribution, relative to a uniform one; means over the coordinates.
    widths = [n for part in PARTS for n in BINS[part]]
    assert error.loss < np.mean(np.log(widths))
    for parts in network.action_decoder(torch.randn(3, network.config.embed_dim)).values():
        assert torch.equal(parts, torch.zeros_like(parts))


def test_without_identities_there_is_no_auxiliary_loss(trainer: Trainer, tmp_path: Path) -> None:
    data = read_data([write_vima_data(tmp_path / "data", 2, identities=False)])
    batch = trainer.collate([trainer.training_sample(episode) for episode in data.episodes])
    assert trainer.loss(batch).keys() == {"loss"}


def test_a_saved_checkpoint_has_the_changed_values_and_all_others(
    trainer: Trainer, tmp_path: Path
) -> None:
    from groot_ros.families.vima.policy import load

    name = "obs_fusion_layer.bias"
    changed = torch.full_like(trainer.model.obs_fusion_layer.bias, 0.25)
    trainer.save(tmp_path / "saved", {name: changed})
    found = load(tmp_path / "saved")
    assert found.tokenizer is not None
    expected = dict(trainer.model.named_parameters())
    for parameter, value in found.network.named_parameters():
        if "shared" not in parameter and "embed_tokens" not in parameter:
            same = changed if parameter == name else expected[parameter]
            assert torch.equal(value, same), parameter


def test_augmentation_changes_all_crops_alike_and_keeps_their_black_border(
    trainer: Trainer, data: VimaData
) -> None:
    episode = data.episodes[0]
    plain = trainer.training_sample(episode)
    darker = Augmentation(crop=False, brightness=0.5)
    sample = trainer.training_sample(episode, 0, np.random.default_rng(3), darker)
    ratios = []
    assert plain.prompt.pictures is not None
    assert sample.prompt.pictures is not None
    for before, after in (
        (plain.objects, sample.objects),
        (plain.prompt.pictures, sample.prompt.pictures),
    ):
        for view in VIEWS:
            old, new = before.crops[view], after.crops[view]
            lit = (old > 40) & (new < 255)
            ratios.append(np.median(new[lit] / old[lit]))
            assert not new[~old.any(axis=-3, keepdims=True).repeat(3, axis=-3)].any()
            shift = np.abs(after.boxes[view] - before.boxes[view])
            assert 0 < shift.max() <= 1
    assert np.ptp(ratios) < 0.02
    assert abs(ratios[0] - 1) > 0.05
    again = trainer.training_sample(episode, 0, np.random.default_rng(3), darker)
    assert np.array_equal(again.objects.crops["top"], sample.objects.crops["top"])


def test_a_word_that_the_checkpoint_does_not_know_names_the_file(
    trainer: Trainer, data: VimaData
) -> None:
    episode = data.episodes[0]
    text = episode.prompt.text.replace("Put", "Hurl")
    other = replace(episode, prompt=replace(episode.prompt, text=text))
    with pytest.raises(ValueError, match=r"episode_000000.npz: prompt .*'Hurl' is not in"):
        trainer.training_sample(other)


def _without(name: str) -> Callable[[dict], None]:
    return lambda arrays: arrays.pop(name)


def _with(name: str, value: Any) -> Callable[[dict], None]:
    return lambda arrays: arrays.update({name: np.asarray(value)})


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (_without("prompt.text"), "'prompt.text' is missing"),
        (_without("objects.top.crops"), "'objects.top.crops' is missing"),
        (_with("prompt.names", ["dragged_obj"]), "placeholder {base_obj} has no picture"),
        (_with("end_effector", "gripper"), "must be suction or spatula, not 'gripper'"),
        (
            _with("actions.pose0_position", [[3, 100]]),
            "is 100 in step 0, column 1.* 0 to 99",
        ),
        (_with("actions.pose1_rotation", [[1, 2, 3]]), r"must be whole numbers \[1, 4\], not"),
        (
            _with("actions.pose1_rotation", [[0.5] * 4]),
            r"must be whole numbers \[1, 4\], not f",
        ),
        (_with("objects.top.boxes", np.full((1, 3, 4), np.nan)), "must have four finite values"),
        (_with("objects.top.mask", [[False] * 3]), "'objects.top.mask' shows no object"),
        (_with("objects.front.mask", [[False, True, True]]), "must begin with an object"),
        (_with("objects.front.mask", [[True] * 2]), "different numbers of steps or objects"),
        (_with("objects.front.crops", np.zeros((1, 3, 32, 32))), "must have 5 dimensions"),
        (
            _with("objects.front.crops", np.zeros((1, 3, 3, 32, 32))),
            "must be bytes .*, not float64",
        ),
        (_with("objects.ids", [[1, 2]]), r"'objects.ids' must be whole numbers \[1, 3\]"),
        (_with("actions.pick_id", [1, 2]), r"'actions.pick_id' must be 1 whole numbers"),
        (_with("actions.place_id", [0.5]), r"'actions.place_id' must be 1 whole numbers"),
        (_with("actions.pick_id", [999]), r"'actions.pick_id' is 999 in step 0, which is not in"),
        (_with("actions.place_id", [-1]), r"'actions.place_id' is -1 in step 0, which is not in"),
        (lambda arrays: arrays.pop("actions.pick_id"), "'actions.pick_id' is missing"),
        (_with("objects.ids", [[1, 2, -3]]), r"'objects.ids' must be from 0 to 16777216"),
        (_with("objects.ids", [[1, 2, 2**40]]), r"'objects.ids' must be from 0 to 16777216"),
        (
            _with("objects.front.crops", np.zeros((1, 3, 3, 16, 16), np.uint8)),
            r"must be bytes \[..., 3, 32, 32\], not uint8",
        ),
    ],
)
def test_malformed_episodes_are_named_in_one_line(
    tmp_path: Path, change: Callable[[dict], None], problem: str
) -> None:
    path = write_vima_data(tmp_path / "data", 1)
    file = path / "episode_000000.npz"
    with np.load(file) as stored:
        arrays = dict(stored)
    change(arrays)
    np.savez(file, **arrays)
    with pytest.raises(ConfigError, match=rf"episode_000000.npz: .*{problem}") as caught:
        read_data([path])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"format": "lerobot"}, "'format' is 'lerobot', only 'groot_ros_vima' is supported"),
        ({"version": 2}, "'version' is 2, but this package reads 1"),
        ({"episodes": 3}, "has 1 files episode_\\*.npz, but meta.json states 3"),
        ({"views": ["top"]}, "'views' must be two cameras or more"),
        (
            {"bins": {part: [2, 2] for part in PARTS}},
            "from 0 to 1|must be whole",
        ),
        ({"table": {"x": [0.7, 0.2], "y": [0, 1]}}, "x"),
    ],
)
def test_a_malformed_meta_json_is_named_in_one_line(
    tmp_path: Path, change: dict, problem: str
) -> None:
    path = write_vima_data(tmp_path / "data", 1)
    meta = json.loads((path / "meta.json").read_text())
    (path / "meta.json").write_text(json.dumps(meta | change))
    with pytest.raises(ConfigError, match=problem) as caught:
        read_data([path])
    assert "\n" not in str(caught.value)


def test_a_damaged_file_and_a_missing_directory_are_named(tmp_path: Path) -> None:
    path = write_vima_data(tmp_path / "data", 1)
    file = path / "episode_000000.npz"
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(ConfigError, match=r"episode_000000.npz: is not a readable npz file"):
        read_data([path])
    with pytest.raises(ConfigError, match="nowhere: no such directory"):
        read_data([tmp_path / "nowhere"])


def test_directories_of_other_bins_cannot_be_trained_together(tmp_path: Path) -> None:
    paths = [write_vima_data(tmp_path / name, 1) for name in ("one", "two")]
    meta = json.loads((paths[1] / "meta.json").read_text())
    meta["bins"]["pose0_position"] = [50, 101]
    (paths[1] / "meta.json").write_text(json.dumps(meta))
    with pytest.raises(ConfigError, match="cannot be trained together: their views or bins differ"):
        read_data(paths)


def test_errors_are_in_metres_of_the_area_that_the_data_state(tmp_path: Path) -> None:
    path = write_vima_data(tmp_path / "data", 1)
    meta = json.loads((path / "meta.json").read_text())
    (path / "meta.json").write_text(json.dumps(meta | {"table": {"x": [0, 5], "y": [-1, 1]}}))
    (episode,) = read_data([path]).episodes
    assert episode.bounds == TableBounds((0, -1), (5, 1))


def action(x: int, y: int, turn: float = 0.0) -> PickPlace:
    """Return an action that picks at (10, 20), and places at (x, y), turned about z by degrees."""
    half = math.radians(turn) / 2
    bins = {
        "pose0_position": torch.tensor([10, 20]),
        "pose0_rotation": torch.tensor(IDENTITY),
        "pose1_position": torch.tensor([x, y]),
        "pose1_rotation": torch.tensor(IDENTITY),
    }
    found = pick_place(bins, BINS)
    place = replace(found.place, rotation=(0.0, 0.0, math.sin(half), math.cos(half)))
    pick = replace(found.pick, rotation=(0.0, 0.0, 0.0, 1.0))
    return replace(found, pick=pick, place=place)


def test_an_episode_counts_as_placed_if_all_its_actions_are_within_the_tolerances() -> None:
    right, near, far = action(20, 30), action(21, 31), action(22, 30)
    found = placement_error(
        [
            ("put", [compare(near, right), compare(right, right)]),
            ("put", [compare(right, right), compare(far, right)]),
            ("turn", [compare(action(20, 30, 9), right)]),
            ("turn", [compare(action(20, 30, 11), right)]),
        ],
        loss=0.5,
    )
    assert found.tasks == {"put": 0.5, "turn": 0.5}
    assert found.placed == 0.5
    # One of twelve positions is off by 1 cm in x and y, another by 2 cm.
    assert found.position == pytest.approx((0.01 * math.sqrt(2) + 0.02) / 12)
    assert "50.0 % of the held-out episodes placed within 1.5 cm" in str(found)
    assert found.metrics()["share/turn"] == 0.5


def test_a_rotation_without_direction_is_wrong_and_its_positions_count() -> None:
    right = {
        "pose0_position": torch.tensor([10, 20]),
        "pose0_rotation": torch.tensor(IDENTITY),
        "pose1_position": torch.tensor([20, 30]),
        "pose1_rotation": torch.tensor(IDENTITY),
    }
    found = {**right, "pose1_rotation": torch.tensor([25] * 4)}
    assert step_error(right, right, BINS, TableBounds()) == StepError(True, (0.0, 0.0))
    assert step_error(found, right, BINS, TableBounds()) == StepError(False, (0.0, 0.0))


@settings(deadline=None)
@given(st.floats(-180, 180), st.floats(-180, 180), st.floats(-180, 180))
def test_only_the_turn_from_pick_to_place_counts(pick: float, turn: float, error: float) -> None:
    def turned(first: float, second: float) -> PickPlace:
        poses = [
            TablePose(0.5, 0.0, (0.0, 0.0, math.sin(h), math.cos(h)))
            for h in (math.radians(first) / 2, math.radians(second) / 2)
        ]
        return PickPlace(poses[0], poses[1], {})

    one, two = turned(0, turn), turned(pick, pick + turn + error)
    assert math.degrees(turn_error(two, one)) == pytest.approx(abs(error), abs=1e-4)
    assert distances(one, two) == (0, 0)
