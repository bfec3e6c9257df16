# SPDX-License-Identifier: Apache-2.0
"""Action head of GR00T N1.6: one decoder, and a transformer that alternates text and images."""

import torch
from torch import Tensor, nn

from groot_ros.families.gr00t_n1d6.config import Gr00tN1d6Config
from groot_ros.layers.action_head import FlowHead, HeadContext
from groot_ros.layers.category_specific import CategoryMLP
from groot_ros.layers.dit import AlternateVLDiT, DiT
from groot_ros.layers.eagle import BackboneOutput


class ActionHead(FlowHead):
    """See `layers.action_head.FlowHead`."""

    config: Gr00tN1d6Config
    mask_token: nn.Parameter | None

    def __init__(self, config: Gr00tN1d6Config) -> None:
        model: DiT = (
            AlternateVLDiT(
                config.dit, config.backbone_embedding_dim, config.attend_text_every_n_blocks
            )
            if config.use_alternate_vl_dit
            else DiT(config.dit, config.backbone_embedding_dim)
        )
        super().__init__(config, model, config.max_action_dim)
        self.action_decoder = CategoryMLP(
            config.max_num_embodiments,
            config.hidden_size,
            config.hidden_size,
            config.max_action_dim,
        )
        self.vlln = (
            nn.LayerNorm(config.backbone_embedding_dim) if config.use_vlln else nn.Identity()
        )
        self.add_positions()
        self.mask_token = None
        if config.state_dropout_prob > 0:
            self.mask_token = nn.Parameter(0.02 * torch.randn(1, 1, config.input_embedding_dim))

    def context(self, backbone: BackboneOutput, state: Tensor, embodiment: Tensor) -> HeadContext:
        """Normalise the features and encode the state [B, T_state, max_state_dim]."""
        return HeadContext(
            self.vlln(backbone.features),
            self.state_encoder(state.to(self.dtype), embodiment),
            embodiment,
            backbone.attention_mask,
            backbone.image_mask,
        )

    def velocity(
        self, context: HeadContext, actions: Tensor, timestep: Tensor, action_timestep: Tensor
    ) -> Tensor:
        """See `FlowHead.velocity`."""
        out = self.transform(context, actions, timestep, action_timestep)
        return self.action_decoder(out, context.embodiment)[:, -actions.shape[1] :]
