# SPDX-License-Identifier: Apache-2.0
"""Action head: computes an action chunk from backbone features and state by flow matching.

Module names are those of the checkpoint's keys.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from groot_ros.families.gr00t_n1d6.backbone import BackboneOutput
from groot_ros.families.gr00t_n1d6.config import Gr00tN1d6Config
from groot_ros.layers.category_specific import ActionEncoder, CategoryMLP
from groot_ros.layers.dit import AlternateVLDiT, DiT
from groot_ros.layers.flow_matching import Conditioning, bucket, euler_step, step_times


@dataclass(frozen=True)
class HeadContext:
    """Tensors that are the same for all denoising steps.

    Attributes:
        features: [B, S, C], normalised by `vlln`.
        attention_mask, image_mask: bool [B, S].
        state: [B, T_state, width] state tokens.
        embodiment: int64 [B], row of the category-specific weights.

    """

    features: Tensor
    attention_mask: Tensor
    image_mask: Tensor
    state: Tensor
    embodiment: Tensor


class ActionHead(nn.Module):
    """Action head; its weights are `action_head.*` of a checkpoint."""

    mask_token: nn.Parameter | None

    def __init__(self, config: Gr00tN1d6Config) -> None:
        super().__init__()
        self.config = config
        width, categories = config.input_embedding_dim, config.max_num_embodiments
        self.model: DiT = (
            AlternateVLDiT(
                config.dit, config.backbone_embedding_dim, config.attend_text_every_n_blocks
            )
            if config.use_alternate_vl_dit
            else DiT(config.dit, config.backbone_embedding_dim)
        )
        self.state_encoder = CategoryMLP(
            categories, config.max_state_dim, config.hidden_size, width
        )
        self.action_encoder = ActionEncoder(categories, config.max_action_dim, width)
        self.action_decoder = CategoryMLP(
            categories, config.hidden_size, config.hidden_size, config.max_action_dim
        )
        self.vlln = (
            nn.LayerNorm(config.backbone_embedding_dim) if config.use_vlln else nn.Identity()
        )
        if config.add_pos_embed:
            self.position_embedding = nn.Embedding(config.max_seq_len, width)
            nn.init.normal_(self.position_embedding.weight, std=0.02)
        self.mask_token = None
        if config.state_dropout_prob > 0:
            self.mask_token = nn.Parameter(0.02 * torch.randn(1, 1, width))

    @property
    def dtype(self) -> torch.dtype:
        """Return the element type of the weights."""
        return self.state_encoder.layer1.W.dtype

    def context(self, backbone: BackboneOutput, state: Tensor, embodiment: Tensor) -> HeadContext:
        """Normalise the features and encode the state [B, T_state, max_state_dim]."""
        return HeadContext(
            features=self.vlln(backbone.features),
            attention_mask=backbone.attention_mask,
            image_mask=backbone.image_mask,
            state=self.state_encoder(state.to(self.dtype), embodiment),
            embodiment=embodiment,
        )

    def encode_actions(self, actions: Tensor, timestep: Tensor, embodiment: Tensor) -> Tensor:
        """Encode actions [B, H, A] as tokens [B, H, width].

        `timestep` is the time bucket of every step, [B, H]; `embodiment` is int64 [B].
        """
        tokens = self.action_encoder(actions, timestep, embodiment)
        if self.config.add_pos_embed:
            tokens = tokens + self.position_embedding.weight[: tokens.shape[1]]
        return tokens

    def velocity(
        self, context: HeadContext, actions: Tensor, timestep: Tensor, action_timestep: Tensor
    ) -> Tensor:
        """Predict the velocity [B, H, A].

        Args:
            context: context of the observation.
            actions: [B, H, A] in the dtype of the weights.
            timestep: int64 [B], time bucket of the transformer.
            action_timestep: int64 [B, H], time bucket of every action token.

        """
        tokens = self.encode_actions(actions, action_timestep, context.embodiment)
        out = self.model(
            torch.cat([context.state, tokens], dim=1),
            context.features,
            timestep,
            context.attention_mask,
            context.image_mask,
        )
        return self.action_decoder(out, context.embodiment)[:, -actions.shape[1] :]

    def denoise_step(
        self,
        context: HeadContext,
        actions: Tensor,
        time: Tensor,
        timestep: Tensor,
        dt: float,
        gain: float,
        conditioning: Conditioning,
    ) -> Tensor:
        """Take one Euler step in float32 and return the actions [B, H, A].

        Args:
            context: context of the observation.
            actions: float32 [B, H, A].
            time: float32 [B], 0 (noise) to 1 (data).
            timestep: int64 [B], time bucket of `time`.
            dt: time step.
            gain: factor on the correction towards the prefix.
            conditioning: conditioning on committed motion, or neutral values.

        """
        clean = conditioning.clean.bool()
        action_timestep = torch.where(clean, self.config.num_timestep_buckets, timestep[:, None])
        velocity = self.velocity(context, actions.to(self.dtype), timestep, action_timestep).float()
        return euler_step(
            actions,
            velocity,
            time[:, None, None],
            dt,
            conditioning.prefix,
            conditioning.weight,
            conditioning.strength,
            gain,
        )

    def denoise(
        self,
        context: HeadContext,
        noise: Tensor,
        steps: int | None = None,
        conditioning: Conditioning | None = None,
    ) -> Tensor:
        """Denoise to a normalised action chunk, float32 [B, H, A].

        Args:
            context: context of the observation.
            noise: float32 [B, H, A].
            steps: number of Euler steps; None = as configured in the checkpoint.
            conditioning: conditioning on committed motion; None = plain sampling.

        """
        steps = self.config.num_inference_timesteps if steps is None else steps
        batch, horizon, width = noise.shape
        if conditioning is None:
            conditioning = Conditioning.none(batch, horizon, width, noise.device)
        actions = torch.where(conditioning.start.bool(), conditioning.prefix, noise)
        for time in step_times(steps):
            timestep = bucket(time, self.config.num_timestep_buckets)
            actions = self.denoise_step(
                context,
                actions,
                torch.full((batch,), time, device=noise.device),
                torch.full((batch,), timestep, device=noise.device),
                dt=1.0 / steps,
                gain=float(steps),
                conditioning=conditioning,
            )
        return actions
