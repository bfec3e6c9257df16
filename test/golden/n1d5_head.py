# SPDX-License-Identifier: Apache-2.0
"""Golden sets of a GR00T N1.5 action head, with one decoder or with bimanual decoders."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from golden import n1d5_staged
from golden.arrays import Arrays, GoldenSet
from golden.comparison import TOLERANCE, Comparison, compare, same
from golden.other_models import is_n1d5_head
from groot_ros.core.config_reader import Fields
from groot_ros.families.gr00t_n1d5.action_head import ActionHead
from groot_ros.families.gr00t_n1d5.config import HeadConfig, fit_to_tensors
from groot_ros.families.gr00t_n1d5.decoders import decode
from groot_ros.families.gr00t_n1d5.training import LossOutput, flow_matching_loss
from groot_ros.layers.action_head import HeadContext
from groot_ros.layers.eagle import BackboneOutput
from groot_ros.layers.flow_matching import Conditioning, bucket, step_times

FILES = ("config.json", "state_dict.safetensors", "inputs.safetensors", "outputs.safetensors")
#: Inputs of the loss that inference does not need.
TRAINING = ("action", "action_mask", "train_noise", "train_t")
#: Mode of the loss -> changes of the configuration.
_MODES = {
    "learnable": {"learned_weights": True},
    "fixed": {"learned_weights": False},
    "learnable_nocoord": {"learned_weights": True, "coordination_weight": 0.0},
    "fixed_nocoord": {"learned_weights": False, "coordination_weight": 0.0},
}


def belongs(folder: Path) -> bool:
    """Tell whether the set is of N1.5."""
    return is_n1d5_head(folder)


def backbone_of(features: Tensor) -> BackboneOutput:
    """Return features [B, S, C] as outputs of a backbone; the head does not read the masks."""
    every = torch.ones(features.shape[:2], dtype=torch.bool)
    return BackboneOutput(features, every, ~every)


def comparisons(source: GoldenSet) -> Iterator[Comparison]:
    weights = dict(source.tensors("state_dict.safetensors"))
    shapes = {name: tuple(tensor.shape) for name, tensor in weights.items()}
    config = HeadConfig.parse(Fields.read(source.folder / "config.json"))
    config = fit_to_tensors(config, shapes, "")
    inputs, golden = (source.tensors(f"{k}.safetensors") for k in ("inputs", "outputs"))
    inputs.has("attention_mask")
    head = ActionHead(config).eval()
    head.load_state_dict(weights)
    features, state, embodiment = (inputs[k] for k in ("vl_features", "state", "embodiment_id"))
    normed, trace = head.vlln(features), []
    yield from golden.optional("vlln", normed)
    if config.use_vlln:
        attended = head.vl_self_attention(normed, trace)
        yield from golden.optional("vl_self_attention", attended)
    for k, hidden in enumerate(trace):
        if f"vl_self_attention.hidden.{k}" in golden:
            yield compare(
                f"vl_self_attention.hidden.{k}", hidden, golden[f"vl_self_attention.hidden.{k}"]
            )
    context = head.context(backbone_of(features), state, embodiment)
    yield from golden.optional("state_features", context.tokens[:, : state.shape[1]])
    noise = inputs["init_noise"][..., : config.action_dim]
    yield from _denoising(head, context, noise, golden)
    again = head.denoise(context, noise)
    yield compare("action_pred (denoise)", again, golden["action_pred"], TOLERANCE)
    staged = n1d5_staged.denoised(config, weights, inputs, features)
    yield compare("action_pred (staged model)", staged, golden["action_pred"], TOLERANCE)
    yield from _losses(head, inputs, golden)


def _denoising(
    head: ActionHead, context: HeadContext, noise: Tensor, golden: Arrays
) -> Iterator[Comparison]:
    """Compare every tensor of every step, and the decoders of the first step."""
    config, actions = head.config, noise
    batch, horizon, width = noise.shape
    steps = config.num_inference_timesteps

    def padded(x: Tensor) -> Tensor:
        return F.pad(x, (0, config.encoder_dim - width))

    for i, time in enumerate(step_times(steps)):
        timestep = torch.full((batch,), bucket(time, config.num_timestep_buckets))
        per_action = timestep[:, None].expand(-1, horizon)
        encoded = head.action_encoder(padded(actions), per_action, context.embodiment)
        tokens = head.encode_actions(actions, per_action, context.embodiment)
        sequence = torch.cat([context.tokens, tokens], dim=1)
        out = head.model(sequence, context.features, timestep)
        parts = head.part_velocities(context, actions, timestep, per_action)
        velocity = torch.cat(list(parts.values()), dim=-1)
        yield from golden.optional(f"step{i}.timestep", timestep, same)
        for name, value in (
            ("actions_in", padded(actions)),
            ("action_encoder_out", encoded),
            ("dit_out", out),
            ("pred_velocity", padded(velocity)),
        ):
            yield from golden.optional(f"step{i}.{name}", value)
        if i == 0 and config.bimanual is not None:
            trace: dict[str, Tensor] = {}
            decoder_in = out[:, -horizon:]
            decode(head.decoders, decoder_in, context.embodiment, trace)
            found = {"decoder_in": decoder_in, **trace}
            found |= {name.removesuffix("_arm"): value for name, value in parts.items()}
            for name, value in found.items():
                yield from golden.optional(f"step0.{name}", value)
        now, dt, gain = torch.full((batch,), time), 1.0 / steps, float(steps)
        neutral = Conditioning.none(batch, horizon, width, actions.device)
        actions = head.denoise_step(context, actions, now, timestep, dt, gain, neutral)
    yield compare("action_pred", actions, golden["action_pred"], TOLERANCE)


def _losses(head: ActionHead, inputs: Arrays, golden: Arrays) -> Iterator[Comparison]:
    if not inputs.has(*TRAINING):
        return
    config = head.config.bimanual
    if config is None:
        loss = _loss(head, inputs)
        yield from golden.optional("train.loss", loss.losses["loss"][None])
        yield from golden.optional("train.pred", loss.prediction)
        yield from _shared(head, inputs, loss, golden)
        return
    for mode, changes in _MODES.items():
        if f"train.{mode}.loss" not in golden:
            continue
        loss = _loss(head, inputs, bimanual=replace(config, **changes))
        for name, value in loss.losses.items():
            yield from golden.optional(f"train.{mode}.{name}", value[None])
    yield from _shared(head, inputs, _loss(head, inputs), golden)


def _loss(head: ActionHead, inputs: Arrays, **options) -> LossOutput:
    return flow_matching_loss(
        head,
        backbone_of(inputs["vl_features"]),
        inputs["state"],
        inputs["action"],
        inputs["action_mask"],
        inputs["embodiment_id"],
        noise=inputs["train_noise"],
        time=inputs["train_t"],
        **options,
    )


def _shared(
    head: ActionHead, inputs: Arrays, loss: LossOutput, golden: Arrays
) -> Iterator[Comparison]:
    yield from golden.optional("train.noisy_trajectory", loss.noisy)
    yield from golden.optional("train.t_discretized", loss.timestep, same)
    if "train.dit_out" in golden:
        args = backbone_of(inputs["vl_features"]), inputs["state"], inputs["embodiment_id"]
        context = head.context(*args)
        per_action = loss.timestep[:, None].expand(-1, loss.noisy.shape[1])
        tokens = head.encode_actions(loss.noisy, per_action, context.embodiment)
        sequence = torch.cat([context.tokens, tokens], dim=1)
        out = head.model(sequence, context.features, loss.timestep)
        yield compare("train.dit_out", out, golden["train.dit_out"])
