# SPDX-License-Identifier: Apache-2.0
"""GR00T N1.6 reference network: backbone and action head, named as in the checkpoint."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from groot_ros.families.gr00t_n1d6.action_head import ActionHead
from groot_ros.families.gr00t_n1d6.backbone import EagleBackbone
from groot_ros.families.gr00t_n1d6.config import Gr00tN1d6Config
from groot_ros.families.gr00t_n1d6.processor import Batch
from groot_ros.layers.flow_matching import Conditioning
from groot_ros.layers.patches import normalise_pixels


class Gr00tN1d6(nn.Module):
    """Reference network that maps images, text, state and noise to a normalised action chunk."""

    def __init__(self, config: Gr00tN1d6Config) -> None:
        super().__init__()
        self.config = config
        self.backbone = EagleBackbone(config.eagle, config.select_layer)
        self.action_head = ActionHead(config)

    @property
    def device(self) -> torch.device:
        """Return the device of the weights."""
        return self.action_head.state_encoder.layer1.W.device

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        images: Sequence[Tensor],
        state: Tensor,
        embodiment: Tensor,
        noise: Tensor,
        steps: int | None = None,
        conditioning: Conditioning | None = None,
    ) -> Tensor:
        """Return normalised action chunks, float32 [B, H, max_action_dim].

        Args:
            input_ids: int64 [B, S], left padded.
            attention_mask: int64 [B, S], 1 at tokens, 0 at padding.
            images: [n, 3, H, W] each, sample by sample, normalised by `normalise_pixels`; sizes
                may differ.
            state: [B, T_state, max_state_dim], normalised.
            embodiment: int64 [B], row of the category-specific weights.
            noise: float32 [B, H, max_action_dim].
            steps: number of Euler steps; None = as configured in the checkpoint.
            conditioning: conditioning on committed motion; None = plain sampling.

        """
        backbone = self.backbone(input_ids, attention_mask, images)
        context = self.action_head.context(backbone, state, embodiment)
        return self.action_head.denoise(context, noise, steps, conditioning)


def build_model(
    config: Gr00tN1d6Config,
    *,
    device: str = "cpu",
    dtype: torch.dtype = torch.float32,
    seed: int = 0,
) -> Gr00tN1d6:
    """Return a randomly initialised model; device "meta" allocates no memory."""
    with torch.random.fork_rng(devices=[]), torch.device(device):
        torch.manual_seed(seed)
        return Gr00tN1d6(config).to(dtype)


@dataclass(frozen=True)
class TensorBatch:
    """Copy of a `processor.Batch` on a device; images are normalised, [1, 3, h, w] each."""

    input_ids: Tensor
    attention_mask: Tensor
    images: list[Tensor]
    state: Tensor
    embodiment: Tensor
    action: Tensor | None
    action_mask: Tensor | None

    @classmethod
    def of(cls, batch: Batch, device: torch.device | str = "cpu") -> "TensorBatch":
        """Copy a batch to a device."""

        def move(array: Any) -> Tensor:
            return torch.from_numpy(array).to(device)

        return cls(
            input_ids=move(batch.input_ids),
            attention_mask=move(batch.attention_mask),
            images=[normalise_pixels(move(image))[None] for image in batch.images],
            state=move(batch.state),
            embodiment=move(batch.embodiment_id),
            action=None if batch.action is None else move(batch.action),
            action_mask=None if batch.action_mask is None else move(batch.action_mask),
        )
