# SPDX-License-Identifier: Apache-2.0
"""GR00T N1.5 reference network: backbone and action head, named as in the checkpoint."""

import torch
from torch import Tensor, nn

from groot_ros.families.gr00t_n1d5.action_head import ActionHead
from groot_ros.families.gr00t_n1d5.backbone import EagleBackbone
from groot_ros.families.gr00t_n1d5.config import Gr00tN1d5Config
from groot_ros.layers.flow_matching import Conditioning


class Gr00tN1d5(nn.Module):
    """Reference network that maps images, text, state and noise to a normalised action chunk."""

    def __init__(self, config: Gr00tN1d5Config) -> None:
        super().__init__()
        self.config = config
        self.backbone = EagleBackbone(config.eagle, config.backbone)
        self.action_head = ActionHead(config.head)

    @property
    def device(self) -> torch.device:
        """Return the device of the weights."""
        return self.action_head.state_encoder.layer1.W.device

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        tiles: Tensor,
        state: Tensor,
        embodiment: Tensor,
        noise: Tensor,
        steps: int | None = None,
        conditioning: Conditioning | None = None,
    ) -> Tensor:
        """Return normalised action chunks, float32 [B, H, action_dim].

        Args:
            input_ids: int64 [B, S], left padded.
            attention_mask: int64 [B, S], 1 at tokens, 0 at padding.
            tiles: [n, 3, S, S], sample by sample, normalised by `normalise_pixels`.
            state: [B, T_state, max_state_dim], normalised.
            embodiment: int64 [B], row of the category-specific weights.
            noise: float32 [B, H, action_dim].
            steps: number of Euler steps; None = as configured in the checkpoint.
            conditioning: conditioning on committed motion; None = plain sampling.

        """
        backbone = self.backbone(input_ids, attention_mask, tiles)
        context = self.action_head.context(backbone.features, state, embodiment)
        return self.action_head.denoise(context, noise, steps, conditioning)


def build_model(
    config: Gr00tN1d5Config,
    *,
    device: str = "cpu",
    dtype: torch.dtype = torch.float32,
    seed: int = 0,
) -> Gr00tN1d5:
    """Return a randomly initialised model; device "meta" allocates no memory."""
    with torch.random.fork_rng(devices=[]), torch.device(device):
        torch.manual_seed(seed)
        return Gr00tN1d5(config).to(dtype)
