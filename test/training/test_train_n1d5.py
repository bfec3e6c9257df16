# SPDX-License-Identifier: Apache-2.0
"""`groot-ros train` with a tiny GR00T N1.5 checkpoint; test_train.py has the same for N1.6."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from support.tiny_n1d5 import TAG, write_tiny_n1d5
from support.training_data import write_training_data

from groot_ros.cli.main import main
from groot_ros.families.gr00t_n1d5.weights import WEIGHTS
from groot_ros.families.registry import find_family
from groot_ros.families.training import Episode
from groot_ros.layers.dit import DiTConfig
from groot_ros.training.network import Network
from groot_ros.training.settings import TrainSettings

GROUPS = {"single_arm": 5, "gripper": 1}
#: Row of the tag new_embodiment.
ROW = 31
STILL = "--crop centre --brightness 0 --contrast 0 --saturation 0 --hue 0"
#: LoRA on the transformer; encoders and decoders are trained as they are.
LORA = f"{STILL} --lora-rank 2 --ema 0.9 --steps 4 --evaluate-every 2 --learning-rate 1e-2"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory with `data`, and a checkpoint `base` for its groups."""
    path = tmp_path_factory.mktemp("n1d5")
    write_training_data(path / "data")
    # Without dropout, so that adapters and merged weights compute the same.
    dit = DiTConfig(
        num_layers=3, num_attention_heads=2, attention_head_dim=8, output_dim=16, dropout=0.0
    )
    own = DiTConfig(num_layers=2, num_attention_heads=3, attention_head_dim=4, dropout=0.0)
    write_tiny_n1d5(path / "base", groups=GROUPS, dit=dit, vl_self_attention=own)
    return path


def run(folder: Path, out: Path, options: str) -> None:
    """Run `groot-ros train` in this process."""
    command = ["train", "--data", str(folder / "data"), "--checkpoint", str(folder / "base")]
    command += ["--out", str(out), "--frame-cache", str(folder / "frames"), "--device", "cpu"]
    command += [
        "--batch-size",
        "4",
        "--validation-samples",
        "4",
        "--log-every",
        "1",
        "--threads",
        "1",
    ]
    assert main([*command, *options.split()]) == 0


def metrics(out: Path, name: str) -> list[float]:
    lines = (out / "metrics.jsonl").read_text().splitlines()
    return [entry[name] for entry in map(json.loads, lines) if name in entry]


@pytest.fixture(scope="module")
def whole(folder: Path) -> Path:
    """Return the directory of a run with LoRA without interruption."""
    run(folder, folder / "whole", LORA)
    return folder / "whole"


def test_a_resumed_run_equals_an_uninterrupted_one_bit_for_bit(
    folder: Path, whole: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    legs = folder / "legs"
    run(folder, legs, f"{LORA} --leg-minutes 1e-9")
    assert "1 of 4 steps done; continue with --resume" in capsys.readouterr().out
    run(folder, legs, f"{LORA} --resume")
    for file in ("last/model", "best/model", "state/weights", "state/average", "state/optimiser"):
        one, two = (load_file(out / f"{file}.safetensors") for out in (whole, legs))
        assert one.keys() == two.keys()
        assert all(torch.equal(one[name], two[name]) for name in one), file
    assert metrics(whole, "loss/train") == metrics(legs, "loss/train")


def test_the_checkpoint_asks_for_the_denoising_steps_of_the_run(
    folder: Path, tmp_path: Path
) -> None:
    run(folder, tmp_path, "--steps 1 --num-inference-steps 3")
    config = json.loads((tmp_path / "last" / "config.json").read_text())
    assert config["action_head_cfg"]["num_inference_timesteps"] == 3


def test_held_out_errors_are_in_rad_and_best_is_the_smallest(whole: Path) -> None:
    errors = metrics(whole, "error/mean")
    assert len(errors) == 2
    assert all(0 < error < np.pi for error in errors)
    progress = json.loads((whole / "state" / "progress.json").read_text())
    assert progress["step"] == 4
    assert progress["best"] == min(errors)
    kinds = {f.suffix for name in ("best", "last") for f in (whole / name).rglob("*.*")}
    assert kinds <= {".safetensors", ".json", ".txt"}
    assert (whole / "curves.png").is_file()


def test_merged_lora_computes_the_same_as_the_adapter_and_changes_nothing_else(
    folder: Path, whole: Path
) -> None:
    family = find_family(whole / "last")
    assert family.name == "gr00t_n1d5"
    merged, adapter = (
        family.trainer(whole / name, embodiment=TAG, device=torch.device("cpu"))
        for name in ("last", "base")
    )
    settings = TrainSettings(lora_rank=2)
    network = Network(adapter, settings, None, family.lora_targets)
    # With an average, the checkpoint has its values.
    average = load_file(whole / "state" / "average.safetensors")
    assert network.parameters.keys() == average.keys()
    with torch.no_grad():
        for name, parameter in network.parameters.items():
            parameter.copy_(average[name])
    groups = {g: np.full((9, width), 3.0) for g, width in GROUPS.items()}
    images = np.zeros((9, 48, 64, 3), np.uint8)
    episode = Episode({"front": images, "wrist": images}, groups, groups, "go")
    batch = merged.collate([merged.training_sample(episode, 1)])
    noise = torch.randn(1, 8, 16, generator=torch.Generator().manual_seed(0))
    for trainer in (merged, adapter):
        trainer.model.eval()
    with torch.no_grad():
        one, two = (trainer.predict(batch, noise) for trainer in (merged, adapter))
    torch.testing.assert_close(one, two, atol=1e-6, rtol=1e-6)
    before, after = (load_file(p / "model.safetensors") for p in (folder / "base", whole / "last"))
    assert before.keys() == after.keys()
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    transformer = {name for name in moved if name.startswith("action_head.model.")}
    # Four of attention and two of the feed-forward part in each of three blocks.
    assert len(transformer) == 3 * 6
    assert all("transformer_blocks" in name for name in transformer)
    for name in moved:
        if WEIGHTS.per_embodiment.fullmatch(name):
            others = [row for row in range(len(before[name])) if row != ROW]
            assert torch.equal(after[name][others], before[name][others]), name
    stored = load_file(whole / "adapter" / "last" / "adapter_model.safetensors")
    assert len(stored) == 2 * len(transformer)
    assert not any(re.search(r"backbone", name) for name in stored)
