# SPDX-License-Identifier: Apache-2.0
"""Data, statistics, losses and schedules of training runs."""

import json
import resource
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from support.tiny_checkpoint import TAG, write_tiny_checkpoint
from support.tiny_n1d5 import ARMS, write_tiny_n1d5
from support.training_data import SIZE, write_training_data

from groot_ros.checkpoint.weights import write_tensors
from groot_ros.cli.main import main
from groot_ros.datasets import DatasetError
from groot_ros.families.family import GroupRange
from groot_ros.families.registry import get_family
from groot_ros.families.training import DataLayout, Episode
from groot_ros.training.auxiliary import LocationReadout
from groot_ros.training.data import (
    FrameStore,
    Recording,
    Samples,
    open_datasets,
    read_recordings,
    split,
)
from groot_ros.training.memory import estimate_memory
from groot_ros.training.network import rate_share
from groot_ros.training.settings import TrainSettings, read_recipe
from groot_ros.training.state import (
    Average,
    complete_directory,
    read_progress,
    replaced_directory,
    save_state,
)
from groot_ros.training.statistics import compare, data_statistics, outliers
from groot_ros.vision.augmentation import Augmentation

WIDTHS = {"single_arm": 5, "gripper": 1}
LAYOUT = DataLayout(TAG, ("front", "wrist"), WIDTHS, WIDTHS, 4, frozenset({"single_arm"}))
ARM = {"single_arm": "single_arm"}
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> list[Recording]:
    path = write_training_data(tmp_path_factory.mktemp("parts") / "data", episodes=3, length=10)
    return read_recordings(open_datasets([str(path)]), LAYOUT, labels=False)


@pytest.fixture
def store(tmp_path: Path, recordings: list[Recording]) -> FrameStore:
    store = FrameStore(tmp_path / "frames", LAYOUT.views, lambda frame: frame[::2, ::2], "half")
    store.fill(recordings)
    return store


def test_a_data_set_without_views_is_refused(tmp_path: Path) -> None:
    path = write_training_data(tmp_path / "data", episodes=1, length=3)
    modality = json.loads((path / "meta" / "modality.json").read_text())
    (path / "meta" / "modality.json").write_text(json.dumps(modality | {"video": {}}))
    with pytest.raises(DatasetError, match=r"no meta/modality.json with 'video'"):
        open_datasets([str(path)])


def test_frames_are_decoded_once_and_prepared(
    store: FrameStore, recordings: list[Recording]
) -> None:
    frames = store.frames(recordings[0], "front")
    assert frames.shape == (10, SIZE[0] // 2, SIZE[1] // 2, 3)
    again = FrameStore(store.folder, LAYOUT.views, _must_not_run, "half")
    again.fill(recordings)
    assert np.array_equal(again.frames(recordings[0], "front"), frames)


def _must_not_run(frame: np.ndarray) -> np.ndarray:
    raise AssertionError("the frames are in the store")


@pytest.mark.parametrize(("padding", "samples"), [("mask", 30), ("repeat", 30), ("none", 21)])
def test_padding_decides_which_steps_are_samples(
    store: FrameStore, recordings: list[Recording], padding: str, samples: int
) -> None:
    found = Samples.of(recordings, store, LAYOUT, padding, seed=0)
    assert len(found) == samples
    episode, _ = found.at(len(found) - 1)
    assert len(episode.action["gripper"]) == (14 if padding == "repeat" else 10)
    assert episode.instruction == "touch the red cube"


def test_too_short_episodes_need_padding(store: FrameStore, recordings: list[Recording]) -> None:
    long = DataLayout(TAG, LAYOUT.views, WIDTHS, WIDTHS, 11)
    with pytest.raises(DatasetError, match="no episode has the 11 rows of a chunk"):
        Samples.of(recordings, store, long, "none", seed=0)


@given(st.integers(0, 100), st.integers(0, 5))
def test_every_epoch_has_each_sample_once(seed: int, epoch: int) -> None:
    samples = Samples([], np.zeros((13, 2), int), [], seed)
    numbers = range(13 * epoch, 13 * (epoch + 1))
    assert sorted(samples.index(n) for n in numbers) == list(range(13))


@given(st.integers(1, 40), st.floats(0.0, 0.9), st.integers(0, 9))
def test_episodes_are_trained_or_held_out(count: int, share: float, seed: int) -> None:
    trained, held = split([None] * count, share, seed)  # type: ignore[list-item]
    assert sorted(trained + held) == list(range(count))
    assert trained
    assert bool(held) == (share > 0 and count > 1)


def recording(values: np.ndarray, recordings: list[Recording]) -> Recording:
    groups = {"single_arm": np.tile(values[:, None], 5), "gripper": values[:, None]}
    texts = ("go",) * len(values)
    return Recording(recordings[0].stored, groups, groups, texts)


def test_relative_statistics_are_those_of_each_step(recordings: list[Recording]) -> None:
    rising = recording(np.arange(10.0), recordings)
    found = data_statistics([rising], LAYOUT, ARM)
    offsets = found["relative_action"]["single_arm"]
    assert np.asarray(offsets["max"])[:, 0].tolist() == [0, 1, 2, 3]
    assert found["action"]["gripper"]["max"] == [9]
    assert "gripper" not in found["relative_action"]


def test_the_ranges_of_data_and_checkpoint_are_compared(recordings: list[Recording]) -> None:
    found = data_statistics([recording(np.arange(10.0), recordings)], LAYOUT, ARM)
    base = GroupRange(
        "state", "gripper", "", "min/max", np.zeros(1), np.full(1, 100.0), (np.zeros(1),) * 2
    )
    lines = list(compare(found, LAYOUT, [base]))
    (gripper,) = [line for line in lines if line.startswith("state gripper")]
    assert gripper.split("  ")[-1] == "differs"
    assert "[0, 9]" in gripper
    assert "[0, 100]" in gripper
    assert sum(line.endswith("none") for line in lines) == 11


def test_a_row_that_stretches_a_range_is_named(recordings: list[Recording]) -> None:
    values = np.sin(np.arange(400.0))
    values[123] = 50.0
    odd = recording(values, recordings)
    found = data_statistics([odd], LAYOUT, ARM)
    lines = list(outliers([odd], found))
    assert len(lines) == 12
    assert all("is 50 in row 123" in line for line in lines)
    assert not list(outliers(recordings, data_statistics(recordings, LAYOUT, ARM)))


def test_augmentation_changes_all_views_of_a_sample_alike() -> None:
    image = np.random.default_rng(0).integers(0, 255, (8, 8, 3), dtype=np.uint8)
    change = Augmentation(brightness=0.3, contrast=0.4, saturation=0.5, hue=0.08, rotation=5).draw(
        np.random.default_rng(1)
    )
    assert change is not None
    assert not np.array_equal(change(image), image)
    assert np.array_equal(change(image), change(image.copy()))
    assert Augmentation().draw(np.random.default_rng(0)) is None


def test_brightness_scales_the_pixels_within_its_range() -> None:
    grey = np.full((4, 4, 3), 100, np.uint8)
    values = [
        int(Augmentation(brightness=0.2).draw(np.random.default_rng(seed))(grey)[0, 0, 0])
        for seed in range(40)
    ]
    assert min(values) >= 80
    assert max(values) <= 120
    assert max(values) - min(values) > 25


def test_labels_follow_the_crop(tmp_path: Path) -> None:
    path = write_tiny_checkpoint(tmp_path / "checkpoint")
    trainer = get_family("gr00t_n1d6").trainer(path, embodiment=TAG, device=CPU)
    arm = np.zeros((5, 5))
    groups = {"single_arm": arm, "gripper": np.zeros((5, 1))}
    images = np.zeros((5, 56, 56, 3), np.uint8)
    labels = np.tile(np.array([[0.5, 0.5], [-1.0, 0.2]], np.float32), (5, 1, 1))
    episode = Episode(
        {"front": images, "wrist": images}, groups, groups, "go", {"front": labels, "wrist": labels}
    )
    found = trainer.training_sample(episode, 0).labels
    assert found.shape == (2, 2, 2)
    np.testing.assert_allclose(found[0, 0], 0.5, atol=0.02)
    assert np.isnan(found[:, 1]).all()


def test_the_readout_learns_where_a_thing_is() -> None:
    torch.manual_seed(0)
    readout = LocationReadout(8, images=1, things=1, seed=0)
    # One token is unlike the others, at row 1 and column 2 of 2 x 3.
    tokens = torch.zeros(4, 6, 8)
    tokens[:, 5] = torch.randn(8)
    backbone = torch.nn.Linear(8, 8)
    labels = torch.tensor([2.6 / 3, 1.3 / 2]).expand(4, 1, 1, 2)
    mask = torch.ones(4, 6, dtype=torch.bool)
    optimiser = torch.optim.Adam([*readout.parameters(), *backbone.parameters()], lr=0.1)
    losses = []
    for _ in range(80):
        loss = readout.loss(backbone(tokens), mask, labels, [(2, 3)])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[0] > 1.5
    assert losses[-1] < 0.02
    nowhere = torch.full((4, 1, 1, 2), float("nan"))
    assert float(readout.loss(backbone(tokens), mask, nowhere, [(2, 3)])) == 0.0


def test_the_learning_rate_rises_and_falls_to_zero() -> None:
    shares = [rate_share(step, 100, 0.1) for step in range(100)]
    assert shares[:10] == pytest.approx([0.1 * (i + 1) for i in range(10)])
    assert max(shares) == 1.0
    assert shares[-1] < 0.001
    assert rate_share(55, 100, 0.1) == pytest.approx(0.5)


def test_memory_counts_one_embodiment_and_every_copy(tmp_path: Path) -> None:
    family = get_family("gr00t_n1d6")
    path = write_tiny_checkpoint(tmp_path / "checkpoint", tune_llm=False, tune_top_llm_layers=0)
    shapes = family.training_shapes(path, embodiment=TAG)
    model = family.trainer(path, embodiment=TAG, device=CPU).model
    trained = sum(p.nbytes for p in model.parameters() if p.requires_grad)
    frozen = sum(p.nbytes for p in model.parameters() if not p.requires_grad)
    estimate = estimate_memory(shapes, frozen_bytes=2, averaged=True)
    assert estimate.frozen == frozen // 2
    assert estimate.trained == estimate.gradients == estimate.averaged == trained
    assert estimate.total == frozen // 2 + 5 * trained
    lora = estimate_memory(
        shapes, frozen_bytes=2, averaged=False, lora_rank=2, lora_targets=family.lora_targets
    )
    assert lora.trained > trained


def test_an_average_follows_the_weights_and_can_take_their_place() -> None:
    parameter = torch.nn.Parameter(torch.zeros(3))
    average = Average({"p": parameter}, 0.5)
    with torch.no_grad():
        parameter.fill_(1.0)
    average.update(1000)
    assert average.values["p"].tolist() == [0.5] * 3
    with average.applied():
        assert parameter.tolist() == [0.5] * 3
    assert parameter.tolist() == [1.0] * 3


def test_an_interrupted_replacement_leaves_the_old_directory(tmp_path: Path) -> None:
    path = tmp_path / "state"
    with replaced_directory(path) as folder:
        (folder / "a").write_text("old")
    with pytest.raises(KeyboardInterrupt), replaced_directory(path) as folder:
        raise KeyboardInterrupt
    found = complete_directory(path)
    assert found is not None
    assert (found / "a").read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["state"]
    path.rename(tmp_path / "state.previous")
    assert complete_directory(path) == tmp_path / "state.previous"


def test_the_best_error_of_a_run_may_be_zero(tmp_path: Path) -> None:
    parameters = {"p": torch.nn.Parameter(torch.zeros(3))}
    optimiser = torch.optim.AdamW(parameters.values())
    for best in (0.0, None):
        progress = {"step": 1, "best": best, "samples": 1}
        save_state(tmp_path / "state", parameters, optimiser, None, progress)
        read = read_progress(tmp_path / "state")["best"]
        assert read == 0.0 if best == 0.0 else np.isnan(read)


def test_a_disk_that_is_full_is_an_error_with_the_name_of_the_file(tmp_path: Path) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(OSError, match=r"a\.safetensors cannot be written: .*File too large"):
            write_tensors({"a": torch.zeros(10_000)}, tmp_path / "a.safetensors")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"cache_features": True}, "cache_features computes each frame's features once"),
        ({"auxiliary": 1.0, "rotation": 5.0}, "auxiliary and rotation exclude each other"),
        ({"lora_rank": 4, "tune_diffusion_model": "on"}, "lora_rank freezes the diffusion"),
        ({"padding": "zeros"}, "padding must be one of mask, repeat, none"),
        ({"steps": 0}, "steps must be at least 1"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(options: dict, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        TrainSettings(**options)


def test_a_recipe_may_write_numbers_as_people_do(tmp_path: Path) -> None:
    file = tmp_path / "recipe.yaml"
    file.write_text("learning_rate: 1e-4\ndata: [a, b]\nsteps: 5\n")
    settings = TrainSettings(**read_recipe(file))
    assert (settings.learning_rate, settings.data, settings.steps) == (1e-4, ("a", "b"), 5)
    file.write_text("lerning_rate: 1\n")
    with pytest.raises(ValueError, match="'lerning_rate' is not a setting"):
        read_recipe(file)


def test_the_shipped_recipe_is_valid() -> None:
    recipe = Path(__file__).parents[2] / "config" / "training" / "small.yaml"
    assert TrainSettings(**read_recipe(recipe)).checkpoint == "small"


def test_wrong_usage_is_one_line_with_exit_status_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "--checkpoint", "small", "--out", str(tmp_path / "out")]) == 2
    assert "data is missing: give a data set with --data" in capsys.readouterr().err
    nowhere = ["--data", str(tmp_path / "nowhere"), "--checkpoint", "small"]
    assert main(["train", *nowhere, "--out", str(tmp_path / "out"), "--device", "cpu"]) == 2
    error = capsys.readouterr().err
    assert "there is no data set at" in error
    assert len(error.splitlines()) == 1


def test_gr00t_n1d5_trains_its_embodiment_and_keeps_the_others(tmp_path: Path) -> None:
    family = get_family("gr00t_n1d5")
    path = write_tiny_n1d5(tmp_path / "base")
    span = {
        kind: {g: {"min": np.full(w, -2.0), "max": np.full(w, 2.0)} for g, w in ARMS.items()}
        for kind in ("state", "action")
    }
    layout = DataLayout(TAG, ("front", "wrist"), ARMS, ARMS, 8, statistics=span)
    changes = {"tune_visual": False, "tune_llm": False}
    family.write_adapted(
        path, layout, tmp_path / "adapted", changes=changes, augmentation=Augmentation()
    )
    trainer = family.trainer(tmp_path / "adapted", embodiment=TAG, device=CPU)
    trainer.parameter_groups({})
    groups = {group: np.zeros((9, width)) for group, width in ARMS.items()}
    images = np.zeros((9, 30, 40, 3), np.uint8)
    episode = Episode({"front": images, "wrist": images}, groups, groups, "go")
    batch = trainer.collate([trainer.training_sample(episode, row) for row in (0, 4)])
    draws = trainer.draw(batch, [np.random.default_rng(i) for i in range(2)], max_delay=3)
    loss = trainer.loss(batch, draws=draws)["loss"]
    loss.backward()
    with torch.no_grad():
        for parameter in trainer.model.parameters():
            if parameter.grad is not None:
                parameter -= 0.1 * parameter.grad
    trainer.save(tmp_path / "trained")
    opened = family.open(tmp_path / "trained", embodiment=TAG)
    assert [r.high.tolist() for r in opened.spec.ranges[:1]] == [[2.0] * 7]
    config = json.loads((tmp_path / "trained" / "config.json").read_text())
    assert config["backbone_cfg"]["tune_visual"] is False
    before, after = (
        family.trainer(p, embodiment=TAG, device=CPU).model.state_dict()
        for p in (path, tmp_path / "trained")
    )
    same = {name for name in before if torch.equal(before[name], after[name])}
    assert all(name in same for name in before if name.startswith("backbone.eagle_model."))
    assert len(same) < len(before)


def test_with_inference_sampling_only_the_times_of_denoising_steps_are_drawn(
    tmp_path: Path,
) -> None:
    path = write_tiny_checkpoint(tmp_path / "checkpoint")
    trainer = get_family("gr00t_n1d6").trainer(path, embodiment=TAG, device=CPU)
    groups = {"single_arm": np.zeros((12, 5)), "gripper": np.zeros((12, 1))}
    images = np.zeros((12, 56, 56, 3), np.uint8)
    episode = Episode({"front": images, "wrist": images}, groups, groups, "go")
    batch = trainer.collate([trainer.training_sample(episode, 0)] * 64)
    rngs = [np.random.default_rng(i) for i in range(64)]
    times = trainer.draw(batch, rngs, timestep_sampling="inference")["time"]
    # The four steps of the tiny checkpoint; the beta distribution gives other times as well.
    assert sorted(set(times.tolist())) == [0.0, 0.25, 0.5, 0.75]
    assert len(set(trainer.draw(batch, rngs)["time"].tolist())) > 32


def test_committed_steps_have_no_noise_and_do_not_count(tmp_path: Path) -> None:
    path = write_tiny_checkpoint(tmp_path / "checkpoint")
    trainer = get_family("gr00t_n1d6").trainer(path, embodiment=TAG, device=CPU)
    arm = np.arange(12)[:, None] * np.ones(5)
    groups = {"single_arm": arm, "gripper": np.zeros((12, 1))}
    images = np.zeros((12, 56, 56, 3), np.uint8)
    episode = Episode({"front": images, "wrist": images}, groups, groups, "go")
    batch = trainer.collate([trainer.training_sample(episode, 0)])
    rng = [np.random.default_rng(0)]
    draws = trainer.draw(batch, rng, max_delay=8)
    assert trainer.counted_values(batch, {}) == 8 * 6
    assert trainer.counted_values(batch, draws) == (8 - int(draws["delay"])) * 6
    given = {**draws, "delay": torch.tensor([3])}
    loss = trainer.loss(batch, draws=given)["loss"]
    other = {**given, "noise": given["noise"].clone()}
    other["noise"][:, :3] += 5.0
    torch.testing.assert_close(trainer.loss(batch, draws=other)["loss"], loss)
    other["noise"][:, 3:] += 5.0
    moved = trainer.loss(batch, draws=other)["loss"] - loss
    assert abs(moved.item()) > 0.1


def test_repeated_actions_after_the_end_count(tmp_path: Path) -> None:
    path = write_tiny_checkpoint(tmp_path / "checkpoint")
    trainer = get_family("gr00t_n1d6").trainer(path, embodiment=TAG, device=CPU)
    state = {"single_arm": np.ones((4, 5)), "gripper": np.zeros((4, 1))}
    action = {group: np.repeat(values[-1:], 4 + 8, axis=0) for group, values in state.items()}
    images = np.zeros((4, 56, 56, 3), np.uint8)
    episode = Episode({"front": images, "wrist": images}, state, action, "go")
    assert trainer.training_sample(episode, 3).action_mask[:, :6].all()
