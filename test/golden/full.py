# SPDX-License-Identifier: Apache-2.0
"""Golden sets of checkpoints in the published layout, from tensors to the action and the loss."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from golden import staged_model
from golden.action_head import TRAINING
from golden.arrays import Arrays, GoldenSet
from golden.backbone import pixels
from golden.comparison import TOLERANCE, Comparison, compare, same
from groot_ros.core.config_reader import Fields
from groot_ros.families.gr00t.network import TensorBatch
from groot_ros.families.gr00t_n1d6.config import MODEL_TYPE, Gr00tN1d6Config
from groot_ros.families.gr00t_n1d6.network import Gr00tN1d6
from groot_ros.families.gr00t_n1d6.program import load_staged
from groot_ros.families.gr00t_n1d6.training import training_loss
from groot_ros.families.gr00t_n1d6.weights import load_config, load_model
from groot_ros.layers.eagle import BackboneOutput

FILES = ("inputs.safetensors", "outputs.safetensors")


def checkpoints(folder: Path) -> list[Path]:
    """Return the checkpoint directories of a set."""
    return sorted(p for p in folder.iterdir() if (p / "config.json").is_file())


def belongs(folder: Path) -> bool:
    """Tell whether all checkpoints of the set are N1.6."""
    found = checkpoints(folder)
    kinds = {Fields.read(path / "config.json").get("model_type", "") for path in found}
    return kinds == {MODEL_TYPE}


def comparisons(source: GoldenSet) -> Iterator[Comparison]:
    inputs, golden = (source.tensors(f"{k}.safetensors") for k in ("inputs", "outputs"))
    found = checkpoints(source.folder)
    sharded = [(path / "model.safetensors.index.json").is_file() for path in found]
    if all(sharded):
        source.lacks("a checkpoint in one file")
    if not any(sharded):
        source.lacks("a checkpoint in shards")
    for checkpoint in found:
        config = load_config(checkpoint, checkpoint / "eagle_config.json")
        for result in _checkpoint(checkpoint, config, inputs, golden):
            yield replace(result, name=f"{checkpoint.name}: {result.name}")


def _checkpoint(
    checkpoint: Path,
    config: Gr00tN1d6Config,
    inputs: Arrays,
    golden: Arrays,
) -> Iterator[Comparison]:
    model = load_model(checkpoint, config)
    images, text = pixels(inputs), (inputs["input_ids"], inputs["attention_mask"])
    out = model.backbone(*text, images)
    context = model.action_head.context(out, inputs["state"], inputs["embodiment_id"])
    found = {
        "backbone_features": out.features,
        "vlln_features": context.features,
        "state_features": context.tokens,
    }
    for name, value in found.items():
        yield from golden.optional(name, value)
    exact = {"backbone_attention_mask": out.attention_mask, "image_mask": out.image_mask}
    for name, value in exact.items():
        yield from golden.optional(name, value, same)
    yield from _loss(model, images, inputs, golden)
    predicted = model.action_head.denoise(context, inputs["init_noise"])
    yield compare("action_pred", predicted, golden["action_pred"], TOLERANCE)
    for row, embodiment in enumerate(inputs["embodiment_id"].tolist()):
        one = slice(row, row + 1)
        head = load_model(checkpoint, config, embodiment=embodiment).action_head
        part = BackboneOutput(out.features[one], out.attention_mask[one], out.image_mask[one])
        context = head.context(part, inputs["state"][one], torch.zeros(1, dtype=torch.int64))
        action = head.denoise(context, inputs["init_noise"][one])
        name = f"action_pred, row {row}, embodiment {embodiment} alone"
        yield compare(name, action, golden["action_pred"][one], TOLERANCE)
        if config.use_alternate_vl_dit or inputs["attention_mask"][row].all():
            staged = load_staged(checkpoint, config, embodiment=embodiment)
            each = len(images) // len(inputs["embodiment_id"])
            own = images[row * each : (row + 1) * each]
            steps = config.num_inference_timesteps
            action = staged_model.inferred(staged, inputs, row, own, steps)
            name = f"action_pred (staged model, row {row}, embodiment {embodiment})"
            yield compare(name, action, golden["action_pred"][one], TOLERANCE)


def _loss(
    model: Gr00tN1d6, images: list[Tensor], inputs: Arrays, golden: Arrays
) -> Iterator[Comparison]:
    if not inputs.has(*TRAINING):
        return
    batch = TensorBatch(
        inputs["input_ids"],
        inputs["attention_mask"],
        images,
        inputs["state"],
        inputs["embodiment_id"],
        inputs["action"],
        inputs["action_mask"],
    )
    draws = {"noise": inputs["train_noise"], "time": inputs["train_t"]}
    loss = training_loss(model, batch, **draws, state_dropout_prob=0.0)
    yield from golden.optional("train_loss", loss.loss[None])
    yield from golden.optional("train_action_loss", loss.action_loss)
