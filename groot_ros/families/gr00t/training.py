# SPDX-License-Identifier: Apache-2.0
"""Training of the GR00T families: random times and noise, frozen parts, batches.

The networks learn to predict the velocity from noise to action at a random time.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from groot_ros.families.gr00t.network import Gr00tNetwork, TensorBatch
from groot_ros.families.gr00t.samples import EncodedSample, collate
from groot_ros.families.gr00t.weights import save_model
from groot_ros.layers.action_head import FlowHeadConfig


@dataclass(frozen=True)
class NoisyActions:
    """Actions at a random time between noise and data.

    Attributes:
        values: [B, H, A], (1 - t) noise + t action.
        target: [B, H, A], velocity action - noise.
        timestep: int64 [B], time bucket.
        per_action: int64 [B, H], time bucket of every action token.

    """

    values: Tensor
    target: Tensor
    timestep: Tensor
    per_action: Tensor


def sample_beta(config: FlowHeadConfig, batch: int, generator: torch.Generator | None) -> Tensor:
    """Draw x ~ Beta(noise_beta_alpha, noise_beta_beta), float32 [batch] on the CPU."""
    shape = torch.tensor([config.noise_beta_alpha, config.noise_beta_beta])
    gamma = torch._standard_gamma(shape.expand(batch, 2).contiguous(), generator=generator)
    return gamma[:, 0] / gamma.sum(1)


def draw_noisy(
    config: FlowHeadConfig,
    action: Tensor,
    sample_time: Callable[[FlowHeadConfig, int, torch.Generator | None], Tensor],
    *,
    noise: Tensor | None,
    time: Tensor | None,
    generator: torch.Generator | None,
) -> NoisyActions:
    """Mix actions with noise at random times.

    Args:
        config: configuration of the head.
        action: [B, H, A], normalised.
        sample_time: draws times in [0, 1), float32 [B], for a configuration and a batch size.
        noise: [B, H, A]; None = drawn, before the times.
        time: [B] in [0, 1); None = drawn.
        generator: CPU generator of all random values; None = torch's global one.

    """
    device = action.device
    if noise is None:
        noise = torch.randn(action.shape, generator=generator).to(device)
    if time is None:
        time = sample_time(config, len(action), generator).to(device)
    t = time[:, None, None]
    noisy = (1 - t) * noise + t * action
    timestep = (time * config.num_timestep_buckets).long()
    per_action = timestep[:, None].expand(-1, action.shape[1])
    return NoisyActions(noisy, action - noise, timestep, per_action)


def freeze(model: nn.Module, frozen: Iterable[nn.Module]) -> None:
    """Set requires_grad of all parameters except those of the frozen modules."""
    model.requires_grad_(True)
    for module in frozen:
        module.requires_grad_(False)


def trained_parameters(model: nn.Module) -> list[nn.Parameter]:
    """Return the parameters that require a gradient."""
    return [p for p in model.parameters() if p.requires_grad]


def set_train_mode(model: nn.Module, frozen: Iterable[nn.Module]) -> None:
    """Set training mode, except for frozen parts, which stay in eval mode without dropout."""
    model.train()
    for module in frozen:
        module.eval()


class Gr00tTrainer:
    """Common part of the families' trainers; see `families.training.Trainer`."""

    def __init__(self, model: Gr00tNetwork, processor: Any) -> None:
        """Train a model on samples of a processor of its family."""
        self.model = model
        self._processor = processor

    def collate(self, samples: Sequence[EncodedSample]) -> TensorBatch:
        """See `families.training.Trainer.collate`."""
        batch = collate(samples, self._processor.tokenizer.pad_id)
        return TensorBatch.of(batch, self.model.device)

    def parameter_groups(self, switches: Mapping[str, Any]) -> list[dict[str, Any]]:
        """See `families.training.Trainer.parameter_groups`; switches are the config's `tune_*`."""
        return [{"params": self.apply_switches(switches)}]

    def apply_switches(self, switches: Mapping[str, Any]) -> list[nn.Parameter]:
        """Freeze and unfreeze the parts, and return the trained parameters."""
        raise NotImplementedError

    def save(self, path: Path) -> None:
        """See `families.training.Trainer.save`."""
        save_model(self.model, path)
        self.copy_files(path)

    def copy_files(self, path: Path) -> None:
        """Copy the files of the processor and the tokenizer to a new checkpoint directory."""
        raise NotImplementedError
