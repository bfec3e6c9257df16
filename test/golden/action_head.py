# SPDX-License-Identifier: Apache-2.0
"""Golden sets of an action head: config.json, state_dict, inputs, outputs."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from golden import staged_model
from golden.arrays import Arrays, GoldenSet
from golden.comparison import TOLERANCE, Comparison, compare, same
from golden.other_models import is_n1d5_head, other_model
from groot_ros.checkpoint.safetensors_file import read_header
from groot_ros.core.config_reader import Fields
from groot_ros.families.gr00t_n1d6.action_head import ActionHead
from groot_ros.families.gr00t_n1d6.config import EagleConfig, Gr00tN1d6Config
from groot_ros.families.gr00t_n1d6.training import flow_matching_loss
from groot_ros.layers.action_head import HeadContext
from groot_ros.layers.eagle import BackboneOutput
from groot_ros.layers.flow_matching import Conditioning, bucket, step_times

FILES = ("config.json", "state_dict.safetensors", "inputs.safetensors", "outputs.safetensors")
#: Inputs of the loss that inference does not need.
TRAINING = ("action", "action_mask", "train_noise", "train_t")


def belongs(folder: Path) -> bool:
    """Tell whether the set is of N1.6."""
    names = read_header(folder / "state_dict.safetensors")
    other = other_model(folder) is not None or is_n1d5_head(folder)
    return "state_encoder.layer1.W" in names and not other


def comparisons(source: GoldenSet) -> Iterator[Comparison]:
    config = Gr00tN1d6Config.parse(Fields.read(source.folder / "config.json"), EagleConfig())
    weights = dict(source.tensors("state_dict.safetensors"))
    inputs, golden = (source.tensors(f"{k}.safetensors") for k in ("inputs", "outputs"))
    head = ActionHead(config).eval()
    head.load_state_dict(weights)
    backbone = BackboneOutput(inputs["vl_features"], inputs["attention_mask"], inputs["image_mask"])
    context = head.context(backbone, inputs["state"], inputs["embodiment_id"])
    yield from golden.optional("vlln_features", context.features)
    yield from golden.optional("state_features", context.tokens)
    yield from _denoising(head, context, inputs["init_noise"], golden)
    again = head.denoise(context, inputs["init_noise"])
    yield compare("action_pred (denoise)", again, golden["action_pred"], TOLERANCE)
    staged = staged_model.denoised(config, weights, inputs, config.num_inference_timesteps)
    yield compare("action_pred (staged model)", staged, golden["action_pred"], TOLERANCE)
    yield from _loss(head, backbone, inputs, golden)
    if not (source.folder / "state_dropout_1.safetensors").exists():
        source.lacks("state_dropout_1.safetensors")
    else:
        golden = source.tensors("state_dropout_1.safetensors")
        head = ActionHead(replace(config, state_dropout_prob=1.0)).eval()
        head.load_state_dict({**weights, "mask_token": golden["mask_token"]})
        for result in _dropout(head, backbone, inputs, golden):
            yield replace(result, name=f"state_dropout_1.{result.name}")


def _denoising(
    head: ActionHead, context: HeadContext, noise: Tensor, golden: Arrays
) -> Iterator[Comparison]:
    """Compare every tensor of every step, and every block of the first step."""
    config, actions = head.config, noise
    batch, horizon, width = noise.shape
    steps = config.num_inference_timesteps
    for i, time in enumerate(step_times(steps)):
        timestep = torch.full((batch,), bucket(time, config.num_timestep_buckets))
        per_action = timestep[:, None].expand(-1, horizon)
        encoded = head.action_encoder(actions, per_action, context.embodiment)
        tokens = head.encode_actions(actions, per_action, context.embodiment)
        sequence = torch.cat([context.tokens, tokens], dim=1)
        trace: list[Tensor] = []
        masks = context.attention_mask, context.image_mask
        out = head.model(sequence, context.features, timestep, *masks, trace)
        velocity = head.velocity(context, actions, timestep, per_action)
        yield from golden.optional(f"step{i}.timestep", timestep, same)
        for name, value in (
            ("actions_in", actions),
            ("action_encoder_out", encoded),
            ("dit_out", out),
            ("pred_velocity", velocity),
        ):
            yield from golden.optional(f"step{i}.{name}", value)
        if i == 0:
            temb = head.model.timestep_encoder(timestep)
            found = {"temb": temb, "hidden_in": sequence, "out": out}
            found |= {f"hidden.{k}": hidden for k, hidden in enumerate(trace)}
            for name, value in found.items():
                yield from golden.optional(f"dit0.{name}", value)
        now, dt, gain = torch.full((batch,), time), 1.0 / steps, float(steps)
        neutral = Conditioning.none(batch, horizon, width, actions.device)
        actions = head.denoise_step(context, actions, now, timestep, dt, gain, neutral)
    yield compare("action_pred", actions, golden["action_pred"], TOLERANCE)


def _loss(
    head: ActionHead, backbone: BackboneOutput, inputs: Arrays, golden: Arrays
) -> Iterator[Comparison]:
    if not inputs.has(*TRAINING):
        return
    # Probabilities between 0 and 1 have no golden value: the sets do not contain the draw.
    dropped = float(head.config.state_dropout_prob == 1.0)
    loss = flow_matching_loss(
        head,
        backbone,
        inputs["state"],
        inputs["action"],
        inputs["action_mask"],
        inputs["embodiment_id"],
        noise=inputs["train_noise"],
        time=inputs["train_t"],
        state_dropout_prob=dropped,
    )
    found = {"loss": loss.loss[None], "action_loss": loss.action_loss}
    found |= {"pred": loss.prediction, "noisy_trajectory": loss.noisy}
    for name, value in found.items():
        yield from golden.optional(f"train.{name}", value)
    yield from golden.optional("train.t_discretized", loss.timestep, same)


def _dropout(
    head: ActionHead, backbone: BackboneOutput, inputs: Arrays, golden: Arrays
) -> Iterator[Comparison]:
    """Compare with every state dropped: the loss changes, in eval mode too; the action does not."""
    yield from _loss(head, backbone, inputs, golden)
    context = head.context(backbone, inputs["state"], inputs["embodiment_id"])
    predicted = head.denoise(context, inputs["init_noise"])
    yield compare("action_pred", predicted, golden["action_pred"], TOLERANCE)
