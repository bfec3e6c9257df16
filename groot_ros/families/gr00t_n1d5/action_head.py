# SPDX-License-Identifier: Apache-2.0
"""Action head: computes an action chunk from backbone features and state by flow matching.

Module names are those of the checkpoint's keys.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from groot_ros.families.gr00t_n1d5.config import HeadConfig
from groot_ros.families.gr00t_n1d5.decoders import decode, make_decoders
from groot_ros.layers.category_specific import ActionEncoder, CategoryMLP
from groot_ros.layers.dit import DiT
from groot_ros.layers.flow_matching import Conditioning, bucket, euler_step, step_times
from groot_ros.layers.self_attention import SelfAttentionTransformer


@dataclass(frozen=True)
class HeadContext:
    """Tensors that are the same for all denoising steps.

    Attributes:
        features: [B, S, C], after `vlln` and `vl_self_attention`.
        tokens: [B, T_state + future tokens, width], tokens before those of the actions.
        embodiment: int64 [B], row of the category-specific weights.

    """

    features: Tensor
    tokens: Tensor
    embodiment: Tensor


class ActionHead(nn.Module):
    """Action head; its weights are `action_head.*` of a checkpoint.

    The attention mask of the backbone is not used: padding is attended to, as in the reference.
    """

    vl_self_attention: SelfAttentionTransformer | nn.Identity

    def __init__(self, config: HeadConfig) -> None:
        super().__init__()
        self.config = config
        width, categories = config.input_embedding_dim, config.max_num_embodiments
        self.model = DiT(config.dit, config.backbone_embedding_dim)
        self.state_encoder = CategoryMLP(
            categories, config.max_state_dim, config.hidden_size, width
        )
        self.action_encoder = ActionEncoder(categories, config.encoder_dim, width)
        self.future_tokens = nn.Embedding(config.future_tokens, width)
        nn.init.normal_(self.future_tokens.weight, std=0.02)
        self.vlln: nn.Module = nn.Identity()
        self.vl_self_attention = nn.Identity()
        if config.use_vlln:
            self.vlln = nn.LayerNorm(config.backbone_embedding_dim)
            self.vl_self_attention = SelfAttentionTransformer(config.vl_self_attention)
        if config.add_pos_embed:
            self.position_embedding = nn.Embedding(config.max_seq_len, width)
            nn.init.normal_(self.position_embedding.weight, std=0.02)
        decoders = make_decoders(config)
        for name, decoder in decoders.items():
            self.add_module(name, decoder)
        self._decoders = tuple(decoders)
        if config.bimanual is not None and config.bimanual.learned_weights:
            self.task_log_sigma = nn.ParameterDict(
                {part: nn.Parameter(torch.zeros(())) for part in config.bimanual.parts}
            )

    @property
    def dtype(self) -> torch.dtype:
        """Return the element type of the weights."""
        return self.state_encoder.layer1.W.dtype

    @property
    def decoders(self) -> dict[str, nn.Module]:
        """Return the decoders by name."""
        return {name: self.get_submodule(name) for name in self._decoders}

    def normalise(self, features: Tensor) -> Tensor:
        """Return backbone features [B, S, C] after `vlln` and `vl_self_attention`."""
        return self.vl_self_attention(self.vlln(features))

    def context(self, features: Tensor, state: Tensor, embodiment: Tensor) -> HeadContext:
        """Normalise features [B, S, C] and encode the state [B, T_state, max_state_dim]."""
        tokens = self.state_encoder(state.to(self.dtype), embodiment)
        future = self.future_tokens.weight.expand(len(tokens), -1, -1)
        return HeadContext(self.normalise(features), torch.cat([tokens, future], dim=1), embodiment)

    def encode_actions(self, actions: Tensor, timestep: Tensor, embodiment: Tensor) -> Tensor:
        """Encode actions as tokens [B, H, width].

        Args:
            actions: [B, H, A]; missing columns of the encoder are zero.
            timestep: time bucket of every step, [B, H].
            embodiment: int64 [B].

        """
        padded = F.pad(actions, (0, self.config.encoder_dim - actions.shape[-1]))
        tokens = self.action_encoder(padded, timestep, embodiment)
        if self.config.add_pos_embed:
            tokens = tokens + self.position_embedding.weight[: tokens.shape[1]]
        return tokens

    def decode(self, out: Tensor, horizon: int, embodiment: Tensor) -> dict[str, Tensor]:
        """Decode the transformer's output [B, T, hidden] to part -> velocity [B, H, columns]."""
        return decode(self.decoders, out[:, -horizon:], embodiment)

    def velocity(
        self, context: HeadContext, actions: Tensor, timestep: Tensor, action_timestep: Tensor
    ) -> dict[str, Tensor]:
        """Predict the velocity of each part of the action, [B, H, columns] each.

        Args:
            context: context of the observation.
            actions: [B, H, A] in the dtype of the weights.
            timestep: int64 [B], time bucket of the transformer.
            action_timestep: int64 [B, H], time bucket of every action token.

        """
        tokens = self.encode_actions(actions, action_timestep, context.embodiment)
        sequence = torch.cat([context.tokens, tokens], dim=1)
        out = self.model(sequence, context.features, timestep)
        return self.decode(out, actions.shape[1], context.embodiment)

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
        parts = self.velocity(context, actions.to(self.dtype), timestep, action_timestep)
        velocity = torch.cat(list(parts.values()), dim=-1).float()
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
        """Denoise to a normalised action chunk, float32 [B, H, action_dim].

        Args:
            context: context of the observation.
            noise: float32 [B, H, action_dim].
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
