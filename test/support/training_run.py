# SPDX-License-Identifier: Apache-2.0
"""A short training run of a tiny GR00T N1.6: its fixtures, and what it has written."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from groot_ros.layers.dit import DiTConfig
from groot_ros.training.settings import TrainSettings
from support.tiny_checkpoint import write_tiny_checkpoint
from support.training_data import write_training_data

#: Without dropout, so that results do not depend on how a batch is divided.
DIT = DiTConfig(
    num_layers=4, num_attention_heads=2, attention_head_dim=8, output_dim=16, dropout=0.0
)
VOCABULARY = "backbone.model.language_model.lm_head.weight"
STILL = {"crop": "centre", "brightness": 0.0, "contrast": 0.0, "saturation": 0.0, "hue": 0.0}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_training_data(tmp_path_factory.mktemp("train") / "data", labels=True)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a checkpoint with a tensor that the network does not use, in bfloat16."""
    path = write_tiny_checkpoint(
        tmp_path_factory.mktemp("train") / "base", dit=DIT, tune_top_llm_layers=0
    )
    tensors = load_file(path / "model.safetensors")
    tensors[VOCABULARY] = torch.randn(4, 16).bfloat16()
    save_file(tensors, path / "model.safetensors", metadata={"format": "pt"})
    return path


@pytest.fixture
def settings(data: Path, base: Path, tmp_path: Path) -> TrainSettings:
    return TrainSettings(
        data=(str(data),),
        checkpoint=str(base),
        out=str(tmp_path / "out"),
        device="cpu",
        steps=2,
        batch_size=4,
        learning_rate=1e-3,
        evaluate_every=1000,
        log_every=1,
        validation_samples=4,
        frame_cache=str(data.parent / "frames"),
        **STILL,
    )


def tensors_of(settings: TrainSettings, name: str = "last") -> dict[str, torch.Tensor]:
    return load_file(Path(settings.out) / name / "model.safetensors")


def losses_of(settings: TrainSettings) -> list[float]:
    lines = (Path(settings.out) / "metrics.jsonl").read_text().splitlines()
    return [entry["loss/train"] for entry in map(json.loads, lines) if "loss/train" in entry]
