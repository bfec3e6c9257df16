# SPDX-License-Identifier: Apache-2.0
"""Training of GR00T N1.5: flow matching loss of each part, and selection of trained parameters."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from groot_ros.families.gr00t.training import (
    draw_noisy,
    freeze,
    sample_beta,
    set_train_mode,
    trained_parameters,
)
from groot_ros.families.gr00t_n1d5.action_head import ActionHead
from groot_ros.families.gr00t_n1d5.config import BimanualConfig, Gr00tN1d5Config
from groot_ros.families.gr00t_n1d5.network import Gr00tN1d5
from groot_ros.layers.action_head import FlowHeadConfig
from groot_ros.layers.eagle import BackboneOutput


@dataclass(frozen=True)
class LossOutput:
    """Loss and intermediate results.

    Attributes:
        losses: "loss" and its parts by name, scalars.
        prediction: [B, H, action_dim], predicted velocity.
        noisy: [B, H, A], noisy actions given to the network.
        timestep: int64 [B], time bucket.

    """

    losses: dict[str, Tensor]
    prediction: Tensor
    noisy: Tensor
    timestep: Tensor


def sample_time(
    config: FlowHeadConfig, batch: int, generator: torch.Generator | None = None
) -> Tensor:
    """Draw times t = (s - x) / s with x ~ Beta(a, b), float32 [batch] on the CPU.

    With the default parameters, times near 0 (noise) are more frequent.
    """
    return (config.noise_s - sample_beta(config, batch, generator)) / config.noise_s


def flow_matching_loss(
    head: ActionHead,
    backbone: BackboneOutput,
    state: Tensor,
    action: Tensor,
    action_mask: Tensor,
    embodiment: Tensor,
    *,
    noise: Tensor | None = None,
    time: Tensor | None = None,
    bimanual: BimanualConfig | None = None,
    delay: Tensor | None = None,
    generator: torch.Generator | None = None,
) -> LossOutput:
    """Compute the masked mean squared error of the velocity.

    In the reference the noise of unused columns enters the encoder in training, although it is 0
    at inference; so it does here.

    Args:
        head: the action head.
        backbone: features of the batch.
        state: [B, T_state, max_state_dim], normalised.
        action: [B, H, A], normalised; A is `action_dim` or `encoder_dim`.
        action_mask: [B, H, A], 1 where the error counts.
        embodiment: int64 [B].
        noise: [B, H, A]; None = drawn.
        time: [B] in [0, 1); None = drawn from the config's Beta distribution.
        bimanual: weights of the parts' losses; None = the head's.
        delay: see `draw_noisy`.
        generator: CPU generator of all random values; None = torch's global one.

    """
    config = head.config
    noisy = draw_noisy(
        config, action, sample_time, noise=noise, time=time, generator=generator, delay=delay
    )
    context = head.context(backbone, state, embodiment)
    parts = head.part_velocities(
        context, noisy.values.to(head.dtype), noisy.timestep, noisy.per_action
    )
    target = noisy.target[..., : config.action_dim]
    mask = action_mask[..., : config.action_dim].to(target.dtype) * noisy.counts
    errors, start = {}, 0
    for part, velocity in parts.items():
        columns = slice(start, start + velocity.shape[-1])
        start = columns.stop
        own = mask[..., columns]
        # A fully masked part gives NaN, as in the reference.
        errors[part] = ((velocity - target[..., columns]) ** 2 * own).sum() / own.sum()
    prediction = torch.cat(list(parts.values()), dim=-1)
    settings = bimanual or config.bimanual
    if settings is None:
        return LossOutput({"loss": errors["action"]}, prediction, noisy.values, noisy.timestep)
    losses = _weighted(head, settings, errors)
    if settings.split and settings.coordination_weight:
        both = mask[..., : settings.left + settings.right].split(
            (settings.left, settings.right), -1
        )
        moved = both[0].any(-1) & both[1].any(-1)
        speeds = parts["left_arm"].norm(dim=-1) - parts["right_arm"].norm(dim=-1)
        difference = (speeds**2 * moved).sum() / moved.sum()
        losses["loss"] = losses["loss"] + settings.coordination_weight * difference
        losses["arm_coordination_loss"] = difference
    return LossOutput(losses, prediction, noisy.values, noisy.timestep)


def _weighted(
    head: ActionHead, settings: BimanualConfig, errors: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Return the sum of the parts' losses with learned or fixed weights, and each by name."""
    found = {f"{part}_loss": error for part, error in errors.items()}
    if not settings.learned_weights:
        total = sum(settings.weights[part] * error for part, error in errors.items())
        return {"loss": torch.as_tensor(total), **found}
    sigmas = {part: head.task_log_sigma[part] for part in errors}
    terms = [
        torch.exp(-2.0 * sigmas[part]) * error + sigmas[part] for part, error in errors.items()
    ]
    for part, log_sigma in sigmas.items():
        found[f"sigma_{part}"] = log_sigma.exp()
        found[f"weight_{part}"] = torch.exp(-2.0 * log_sigma)
    return {"loss": torch.stack(terms).sum(), **found}


def switched_modules(model: Gr00tN1d5) -> dict[str, list[nn.Module]]:
    """Return the modules that each switch trains.

    `vlln`, the future tokens, the loss weights and `eagle_linear` have no switch: they are trained
    always.
    """
    eagle, head = model.backbone.eagle_model, model.action_head
    projector: list[nn.Module] = [
        head.vl_self_attention,
        head.state_encoder,
        head.action_encoder,
        *head.decoders.values(),
    ]
    if head.config.add_pos_embed:
        projector.append(head.position_embedding)
    return {
        "tune_visual": [eagle.vision_model, eagle.mlp1],
        "tune_llm": [eagle.language_model],
        "tune_projector": projector,
        "tune_diffusion_model": [head.model],
    }


def switches_of(config: Gr00tN1d5Config) -> dict[str, bool]:
    """Return the values of all switches."""
    return {
        "tune_visual": config.backbone.tune_visual,
        "tune_llm": config.backbone.tune_llm,
        "tune_projector": config.head.tune_projector,
        "tune_diffusion_model": config.head.tune_diffusion_model,
    }


def with_switches(config: Gr00tN1d5Config, switches: Mapping[str, Any]) -> Gr00tN1d5Config:
    """Return the configuration with some switches and `num_inference_timesteps` changed.

    Raises:
        ValueError: a switch does not exist.

    """
    unknown = sorted(switches.keys() - {*switches_of(config), "num_inference_timesteps"})
    if unknown:
        raise ValueError(
            f"no switch '{unknown[0]}' (known: {', '.join(sorted(switches_of(config)))})"
        )
    backbone = {k: v for k, v in switches.items() if hasattr(config.backbone, k)}
    head = {k: v for k, v in switches.items() if hasattr(config.head, k)}
    return replace(
        config, backbone=replace(config.backbone, **backbone), head=replace(config.head, **head)
    )


def frozen_modules(model: Gr00tN1d5) -> Iterator[nn.Module]:
    """Yield the modules whose switch in the config is off."""
    on = switches_of(model.config)
    for switch, modules in switched_modules(model).items():
        if not on[switch]:
            yield from modules


def apply_tuning(model: Gr00tN1d5) -> list[nn.Parameter]:
    """Set requires_grad by the config's `tune_*` switches and return the trained parameters."""
    freeze(model, frozen_modules(model))
    return trained_parameters(model)


def train_mode(model: Gr00tN1d5) -> None:
    """Set training mode, except for frozen parts; see `set_train_mode`."""
    set_train_mode(model, frozen_modules(model))
