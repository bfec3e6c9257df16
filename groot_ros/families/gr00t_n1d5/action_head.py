# SPDX-License-Identifier: Apache-2.0
"""Action head of GR00T N1.5: self-attention on the features, future tokens, several decoders."""

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from groot_ros.families.gr00t_n1d5.config import HeadConfig
from groot_ros.families.gr00t_n1d5.decoders import decode, make_decoders
from groot_ros.layers.action_head import FlowHead, HeadContext
from groot_ros.layers.dit import DiT
from groot_ros.layers.eagle import BackboneOutput
from groot_ros.layers.self_attention import SelfAttentionTransformer


class ActionHead(FlowHead):
    """See `layers.action_head.FlowHead`.

    The attention mask of the backbone is not used: padding is attended to, as in the reference.
    """

    config: HeadConfig
    vl_self_attention: SelfAttentionTransformer | nn.Identity

    def __init__(self, config: HeadConfig) -> None:
        model = DiT(config.dit, config.backbone_embedding_dim)
        super().__init__(config, model, config.encoder_dim)
        self.future_tokens = nn.Embedding(config.future_tokens, config.input_embedding_dim)
        nn.init.normal_(self.future_tokens.weight, std=0.02)
        self.vlln: nn.Module = nn.Identity()
        self.vl_self_attention = nn.Identity()
        if config.use_vlln:
            self.vlln = nn.LayerNorm(config.backbone_embedding_dim)
            self.vl_self_attention = SelfAttentionTransformer(config.vl_self_attention)
        self.add_positions()
        decoders = make_decoders(config)
        for name, decoder in decoders.items():
            self.add_module(name, decoder)
        self._decoders = tuple(decoders)
        if config.bimanual is not None and config.bimanual.learned_weights:
            self.task_log_sigma = nn.ParameterDict(
                {part: nn.Parameter(torch.zeros(())) for part in config.bimanual.parts}
            )

    @property
    def decoders(self) -> dict[str, nn.Module]:
        """Return the decoders by name."""
        return {name: self.get_submodule(name) for name in self._decoders}

    def context(self, backbone: BackboneOutput, state: Tensor, embodiment: Tensor) -> HeadContext:
        """Normalise the features and encode the state [B, T_state, max_state_dim].

        The tokens are those of the state, then the future tokens.
        """
        tokens = self.state_encoder(state.to(self.dtype), embodiment)
        future = self.future_tokens.weight.expand(len(tokens), -1, -1)
        features = self.vl_self_attention(self.vlln(backbone.features))
        return HeadContext(features, torch.cat([tokens, future], dim=1), embodiment)

    def encode_actions(self, actions: Tensor, timestep: Tensor, embodiment: Tensor) -> Tensor:
        """See `FlowHead.encode_actions`; missing columns of the encoder are zero."""
        padded = F.pad(actions, (0, self.config.encoder_dim - actions.shape[-1]))
        return super().encode_actions(padded, timestep, embodiment)

    def part_velocities(
        self, context: HeadContext, actions: Tensor, timestep: Tensor, action_timestep: Tensor
    ) -> dict[str, Tensor]:
        """Predict the velocity of each part of the action, [B, H, columns] each; see `velocity`."""
        out = self.transform(context, actions, timestep, action_timestep)
        return decode(self.decoders, out[:, -actions.shape[1] :], context.embodiment)

    def velocity(
        self, context: HeadContext, actions: Tensor, timestep: Tensor, action_timestep: Tensor
    ) -> Tensor:
        """See `FlowHead.velocity`."""
        parts = self.part_velocities(context, actions, timestep, action_timestep)
        return torch.cat(list(parts.values()), dim=-1)
