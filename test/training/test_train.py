# SPDX-License-Identifier: Apache-2.0
"""Training runs of a tiny checkpoint on a tiny data set."""

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from support.tiny_checkpoint import TAG, tiny_config
from support.training_data import write_training_data
from support.training_run import VOCABULARY, losses_of, tensors_of

from groot_ros.cli.main import main
from groot_ros.families.gr00t_n1d6.small_checkpoint import initialise
from groot_ros.families.registry import get_family
from groot_ros.families.training import Episode
from groot_ros.training.loop import Result
from groot_ros.training.lora import lora_layers
from groot_ros.training.network import Network
from groot_ros.training.run import train
from groot_ros.training.settings import TrainSettings
from groot_ros.vision.augmentation import Augmentation

ROW = 10
EMBODIMENT_ROWS = re.compile(r"action_head\.(state_encoder|action_encoder|action_decoder)\..*")


def changed(base: Path, settings: TrainSettings) -> set[str]:
    before, after = load_file(base / "model.safetensors"), tensors_of(settings)
    assert before.keys() == after.keys()
    return {name for name in before if not torch.equal(before[name], after[name])}


@pytest.fixture
def random_weights(base: Path, tmp_path: Path) -> Path:
    """Return the checkpoint with weights that train well."""
    trainer = get_family("gr00t_n1d6").trainer(base, embodiment=TAG, device=torch.device("cpu"))
    initialise(trainer.model, seed=0)
    trainer.parameter_groups({})
    trainer.save(tmp_path / "random")
    return tmp_path / "random"


@pytest.mark.slow
def test_a_tiny_checkpoint_learns_a_tiny_data_set(
    settings: TrainSettings, random_weights: Path
) -> None:
    result = train(
        replace(
            settings,
            checkpoint=str(random_weights),
            steps=150,
            batch_size=8,
            learning_rate=1e-2,
            auxiliary=1.0,
            ema=0.95,
        )
    )
    losses = losses_of(settings)
    assert np.mean(losses[-10:]) < 0.4 * np.mean(losses[:3])
    assert result.finished
    assert result.error is not None
    assert result.error.unit == "rad"
    # A held-out episode, of which the training data have a twin.
    assert result.error.mean < 0.04
    out = Path(settings.out)
    assert (out / "curves.png").stat().st_size > 5000
    assert list((out / "tensorboard").glob("events*"))
    kinds = {file.suffix for name in ("best", "last") for file in (out / name).iterdir()}
    assert kinds <= {".safetensors", ".json", ".txt"}


def test_a_resumed_run_equals_an_uninterrupted_one_bit_for_bit(
    settings: TrainSettings, tmp_path: Path
) -> None:
    whole = replace(settings, steps=4, ema=0.9, state_dropout=0.5, crop="random", hue=0.1)
    train(whole)
    legs = replace(whole, out=str(tmp_path / "legs"), leg_minutes=1e-9)
    assert train(legs) == Result(1, False, None, pytest.approx(float("nan"), nan_ok=True))
    train(replace(legs, resume=True))
    assert train(replace(legs, resume=True, leg_minutes=0.0)).finished
    for file in ("last/model.safetensors", *(f"state/{n}.safetensors" for n in _STATE)):
        one, two = (load_file(Path(s.out) / file) for s in (whole, legs))
        assert one.keys() == two.keys()
        assert all(torch.equal(one[name], two[name]) for name in one), file
    assert losses_of(whole) == losses_of(legs)


_STATE = ("weights", "average", "optimiser")
PARTS = {
    "tune_llm": "backbone.model.language_model.model.",
    "tune_visual": ("backbone.model.vision_model.", "backbone.model.mlp1."),
    "tune_diffusion_model": "action_head.model.",
    "tune_projector": (
        "action_head.state_encoder.",
        "action_head.action_encoder.",
        "action_head.action_decoder.",
        "action_head.position_embedding.",
    ),
    "tune_vlln": "action_head.vlln.",
}


@pytest.mark.parametrize("switch", PARTS)
def test_a_switch_trains_exactly_its_parameters(
    settings: TrainSettings, base: Path, switch: str
) -> None:
    switches = dict.fromkeys(PARTS, "off") | {switch: "on"}
    train(replace(settings, **switches, weight_decay=0.1))
    own = {n for n in load_file(base / "model.safetensors") if n.startswith(PARTS[switch])}
    found = changed(base, settings)
    assert found <= own
    # Padded columns and unused positions have no gradient, but every tensor has some weight decay.
    assert {n for n in own if n.endswith("weight") and "norm" not in n} <= found


def test_other_embodiments_and_unused_tensors_stay_the_same_bit_for_bit(
    settings: TrainSettings, base: Path
) -> None:
    train(replace(settings, weight_decay=0.1))
    before, after = load_file(base / "model.safetensors"), tensors_of(settings)
    moved = 0
    for name, old in before.items():
        if EMBODIMENT_ROWS.fullmatch(name):
            others = [row for row in range(len(old)) if row != ROW]
            assert torch.equal(after[name][others], old[others])
            moved += not torch.equal(after[name][ROW], old[ROW])
    assert moved > 5
    assert torch.equal(after[VOCABULARY], before[VOCABULARY])


def test_merged_lora_computes_the_same_as_the_adapter(
    settings: TrainSettings, base: Path, tmp_path: Path
) -> None:
    with_lora = replace(settings, lora_rank=2, steps=3, learning_rate=1e-2)
    train(with_lora)
    found = changed(base, settings)
    adapted = {name for name in found if name.startswith("action_head.model.")}
    assert len(adapted) == 4 * 6
    assert all("transformer_blocks" in name and name.endswith(".weight") for name in adapted)
    out = Path(settings.out)
    family = get_family("gr00t_n1d6")
    cpu = torch.device("cpu")
    merged = family.trainer(out / "last", embodiment=TAG, device=cpu)
    adapter = family.trainer(out / "base", embodiment=TAG, device=cpu)
    network = Network(adapter, with_lora, None, family.lora_targets)
    state = load_file(out / "state" / "weights.safetensors")
    with torch.no_grad():
        for name, parameter in network.parameters.items():
            parameter.copy_(state[name])
    batch = merged.collate([merged.training_sample(episode(), 1)])
    noise = torch.randn(1, 8, 8, generator=torch.Generator().manual_seed(0))
    for trainer in (merged, adapter):
        trainer.model.eval()
    with torch.no_grad():
        one, two = (trainer.predict(batch, noise) for trainer in (merged, adapter))
    torch.testing.assert_close(one, two, atol=1e-6, rtol=1e-6)
    # The saved adapter is what peft reads, and gives the same network.
    assert len(list(lora_layers(adapter.model))) == 24
    stored = load_file(out / "adapter" / "last" / "adapter_model.safetensors")
    assert len(stored) == 48
    assert json.loads((out / "adapter" / "last" / "adapter_config.json").read_text())["r"] == 2


def episode(length: int = 12) -> Episode:
    arm = np.arange(length)[:, None] * np.ones(5)
    groups = {"single_arm": arm, "gripper": np.full((length, 1), 50.0)}
    images = np.zeros((length, 48, 64, 3), dtype=np.uint8)
    return Episode({"front": images, "wrist": images}, groups, groups, "go")


def test_micro_batches_give_the_same_weights_as_a_whole_batch(
    settings: TrainSettings, tmp_path: Path
) -> None:
    train(settings)
    parts = replace(settings, out=str(tmp_path / "parts"), micro_batch=1)
    train(parts)
    assert losses_of(parts) == pytest.approx(losses_of(settings), rel=1e-5)


@pytest.mark.slow
def test_two_processes_give_the_same_loss_as_one_with_the_whole_batch(
    settings: TrainSettings, tmp_path: Path
) -> None:
    train(settings)
    two = replace(settings, out=str(tmp_path / "two"))
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(json.dumps(two.to_json()))
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu"]
    launch += ["--num_processes", "2", "--main_process_port", "0"]
    command = [*launch, "-m", "groot_ros.cli", "train", "--recipe", str(recipe), "--threads", "1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert losses_of(two) == pytest.approx(losses_of(settings), rel=1e-5)
    one = load_file(Path(settings.out) / "state" / "weights.safetensors")
    for name, value in load_file(Path(two.out) / "state" / "weights.safetensors").items():
        torch.testing.assert_close(value, one[name], atol=2e-5, rtol=1e-3)


def test_cached_features_give_the_same_losses_as_computed_ones(
    settings: TrainSettings, tmp_path: Path
) -> None:
    frozen = replace(settings, tune_llm="off", tune_visual="off")
    train(frozen)
    cached = replace(frozen, out=str(tmp_path / "cached"), cache_features=True)
    train(cached)
    # The features are stored in float16.
    assert losses_of(cached) == pytest.approx(losses_of(frozen), rel=2e-3)


def test_features_of_a_trained_backbone_are_not_cached(settings: TrainSettings) -> None:
    with pytest.raises(ValueError, match=r"cache_features computes the backbone once, but .*llm"):
        train(replace(settings, cache_features=True, tune_llm="on", tune_visual="off"))


def test_a_data_set_that_is_given_twice_is_refused(settings: TrainSettings, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(settings.data[0])
    with pytest.raises(ValueError, match="is given 2 times: give each data set once"):
        train(replace(settings, data=(settings.data[0], str(tmp_path / "link"))))


def test_kept_statistics_must_be_of_the_same_actions(settings: TrainSettings) -> None:
    keep = replace(settings, statistics="keep")
    with pytest.raises(ValueError, match=r"those of the checkpoint are of \d+ steps, not of 3"):
        train(replace(keep, horizon=3))
    with pytest.raises(ValueError, match=r"other action groups are relative \(single_arm\)"):
        train(replace(keep, relative=("gripper",)))


def test_an_unknown_relative_group_lists_those_of_the_data(settings: TrainSettings) -> None:
    with pytest.raises(ValueError, match="no action group 'arm', the data have single_arm, grip"):
        train(replace(settings, relative=("arm",)))


def test_the_auxiliary_loss_names_the_remedy_where_labels_are_missing(
    settings: TrainSettings, tmp_path: Path
) -> None:
    data = write_training_data(tmp_path / "unlabelled")
    with pytest.raises(ValueError, match=r"no column 'label.front', .* set auxiliary to 0"):
        train(replace(settings, data=(str(data),), auxiliary=1.0))


def test_data_of_the_other_kind_of_model_are_named(settings: TrainSettings, tmp_path: Path) -> None:
    (tmp_path / "meta.json").write_text("{}")
    with pytest.raises(ValueError, match=r"has episodes for VIMA .*, but GR00T is trained on"):
        train(replace(settings, data=(str(tmp_path),)))
    with pytest.raises(ValueError, match=r"is a data set of LeRobot, but VIMA is trained on"):
        train(replace(settings, checkpoint="small", family="vima"))


def test_a_run_says_what_it_trains_on_and_what_it_wrote(
    settings: TrainSettings, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--data", *settings.data, "--checkpoint", settings.checkpoint, "--device", "cpu"]
    options += ["--steps", "1", "--batch-size", "2", "--threads", "1", "--robot", "arm7"]
    options += ["--frame-cache", settings.frame_cache]
    assert main(["train", *options, "--out", settings.out]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("episodes: 3 trained, 1 held out\n")
    assert "warning: robot 'arm7' has no action group single_arm, gripper: errors are" in printed
    assert "1 steps done; checkpoints best and last\nnext: groot-ros inspect" in printed
    assert printed.endswith(f" --checkpoint {settings.out}/best --robot ROBOT\n")
    assert main(["train", *options, "--out", f"{settings.out}2", "--held-out", "0"]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("episodes: 4 trained, 0 held out: there will be no error on them")
    assert "1 steps done; checkpoint last\n" in printed
    assert printed.endswith(f" --checkpoint {settings.out}2/last --robot ROBOT\n")


def test_a_batch_in_which_no_step_counts_changes_no_weights_to_nan(settings: TrainSettings) -> None:
    # Samples near the end of an episode have fewer steps than are given.
    train(replace(settings, batch_size=1, max_delay=7, steps=20))
    assert all(np.isfinite(losses_of(settings)))
    assert 0.0 in losses_of(settings)


def test_no_more_steps_are_given_than_a_chunk_has(settings: TrainSettings) -> None:
    with pytest.raises(ValueError, match="max_delay is 8, but must be less than the 8 steps"):
        train(replace(settings, max_delay=8))


def test_training_time_chunking_and_lost_state_train_too(settings: TrainSettings) -> None:
    train(replace(settings, max_delay=4, state_dropout=0.5, padding="repeat"))
    assert all(np.isfinite(losses_of(settings)))
    assert "action_head.mask_token" in tensors_of(settings)


def test_the_checkpoint_asks_for_the_denoising_steps_of_the_run(settings: TrainSettings) -> None:
    train(replace(settings, num_inference_steps=2))
    for name in ("best", "last"):
        path = Path(settings.out) / name
        assert get_family("gr00t_n1d6").open(path, embodiment=TAG).spec.sampling_steps == 2


def test_saved_files_keep_what_this_version_does_not_know(
    settings: TrainSettings, base: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    for file in base.iterdir():
        (other / file.name).write_bytes(file.read_bytes())
    for name in ("config.json", "statistics.json"):
        value = json.loads((other / name).read_text())
        value["from_the_future"] = {"min": 1}
        (other / name).write_text(json.dumps(value))
    train(replace(settings, checkpoint=str(other), tune_llm="off", brightness=0.25))
    last = Path(settings.out) / "last"
    config = json.loads((last / "config.json").read_text())
    assert config["from_the_future"] == {"min": 1}
    assert config["tune_llm"] is False
    assert "from_the_future" in json.loads((last / "statistics.json").read_text())
    kwargs = json.loads((last / "processor_config.json").read_text())["processor_kwargs"]
    assert kwargs["color_jitter_params"]["brightness"] == 0.25
    spec = get_family("gr00t_n1d6").open(last, embodiment=TAG).spec
    # Statistics are those of the data, not of the base checkpoint (-90 to 90).
    (arm,) = [r for r in spec.ranges if (r.modality, r.group) == ("state", "single_arm")]
    assert abs(arm.low).max() < 40


def test_the_config_of_the_fixture_has_more_embodiments_than_one() -> None:
    assert tiny_config().max_num_embodiments > ROW
    assert Augmentation(crop=False).off
