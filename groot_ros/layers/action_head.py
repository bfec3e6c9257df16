# SPDX-License-Identifier: Apache-2.0
"""Action head of the GR00T families: flow matching with a diffusion transformer.

Module names are those of the checkpoint's keys.
"""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from groot_ros.core import MAX_INFERENCE_STEPS
from groot_ros.core.config_reader import Fields
from groot_ros.layers.category_specific import ActionEncoder, CategoryMLP
from groot_ros.layers.dit import DiT, DiTConfig
from groot_ros.layers.eagle import BackboneOutput
from groot_ros.layers.flow_matching import Conditioning, bucket, euler_step, step_times

#: Largest size of a dimension of the action head: a product of larger ones overflows.
MAX_SIZE = 2**20
_SIZES = (
    "backbone_embedding_dim",
    "max_state_dim",
    "action_horizon",
    "hidden_size",
    "input_embedding_dim",
    "max_seq_len",
    "max_num_embodiments",
)
_FLAGS = ("add_pos_embed", "use_vlln", "tune_projector", "tune_diffusion_model")
_NOISE = ("noise_beta_alpha", "noise_beta_beta", "noise_s")
_MAX_NOISE = 1e6


@dataclass(frozen=True)
class FlowHeadConfig:
    """Sizes, sampling and training of an action head, as far as the families share them.

    Attributes:
        action_horizon: steps that the head denoises.
        hidden_size: width inside the state encoder and action decoder.
        input_embedding_dim: width of the tokens, equal to the DiT's.
        noise_beta_alpha, noise_beta_beta, noise_s: distribution of the times in training.

    """

    backbone_embedding_dim: int = 2048
    max_state_dim: int = 29
    action_horizon: int = 16
    hidden_size: int = 1024
    input_embedding_dim: int = 1536
    max_seq_len: int = 1024
    max_num_embodiments: int = 32
    add_pos_embed: bool = True
    use_vlln: bool = True
    dit: DiTConfig = field(default_factory=DiTConfig)
    num_inference_timesteps: int = 4
    num_timestep_buckets: int = 1000
    noise_beta_alpha: float = 1.5
    noise_beta_beta: float = 1.0
    noise_s: float = 0.999
    tune_projector: bool = True
    tune_diffusion_model: bool = True

    @classmethod
    def shared_fields(cls, f: Fields, **defaults: Any) -> dict[str, Any]:
        """Read the fields of this class except `dit`; a CheckpointError names the key.

        Args:
            f: configuration of the head.
            **defaults: replace the defaults of this class for omitted keys.

        """

        def default(key: str) -> Any:
            return defaults.get(key, getattr(cls, key))

        sizes = {k: f.integer(k, default(k), at_least=1, at_most=MAX_SIZE) for k in _SIZES}
        noise = {k: f.number(k, default(k), above=0.0, at_most=_MAX_NOISE) for k in _NOISE}
        steps = f.integer(
            "num_inference_timesteps",
            default("num_inference_timesteps"),
            at_least=1,
            at_most=MAX_INFERENCE_STEPS,
        )
        buckets = f.integer("num_timestep_buckets", default("num_timestep_buckets"), at_least=1)
        flags = {k: f.flag(k, default(k)) for k in _FLAGS}
        counts = {"num_inference_timesteps": steps, "num_timestep_buckets": buckets}
        return {**sizes, **noise, **flags, **counts}

    def check(self, f: Fields) -> None:
        """Raise CheckpointError unless the sizes of the parts agree; `f` names the file."""
        for key, expected, other in (
            ("input_embedding_dim", self.dit.inner_dim, "num_attention_heads x attention_head_dim"),
            ("hidden_size", self.dit.output_dim, "output_dim"),
        ):
            if (value := getattr(self, key)) != expected:
                problem = f"is {value} but {other} of diffusion_model_cfg is {expected}"
                raise f.error(key, problem)
        if self.add_pos_embed and self.action_horizon > self.max_seq_len:
            raise f.error(
                "action_horizon", f"{self.action_horizon} exceeds max_seq_len {self.max_seq_len}"
            )


@dataclass(frozen=True)
class HeadContext:
    """Tensors that are the same for all denoising steps.

    Attributes:
        features: [B, S, C], after the norms and layers that the head applies to them.
        tokens: [B, T, width], tokens before those of the actions.
        embodiment: int64 [B], row of the category-specific weights.
        attention_mask, image_mask: bool [B, S]; None if the transformer does not use them.

    """

    features: Tensor
    tokens: Tensor
    embodiment: Tensor
    attention_mask: Tensor | None = None
    image_mask: Tensor | None = None


class FlowHead(nn.Module):
    """Action head; its weights are `action_head.*` of a checkpoint. Subclasses have the decoder."""

    def __init__(self, config: FlowHeadConfig, model: DiT, columns: int) -> None:
        """Build the encoders.

        Args:
            config: sizes.
            model: diffusion transformer.
            columns: columns of an action that the encoder takes.

        """
        super().__init__()
        self.config = config
        width, categories = config.input_embedding_dim, config.max_num_embodiments
        self.model = model
        self.state_encoder = CategoryMLP(
            categories, config.max_state_dim, config.hidden_size, width
        )
        self.action_encoder = ActionEncoder(categories, columns, width)

    def add_positions(self) -> None:
        """Add the position embeddings of the action tokens if the configuration has them."""
        if self.config.add_pos_embed:
            width = self.config.input_embedding_dim
            self.position_embedding = nn.Embedding(self.config.max_seq_len, width)
            nn.init.normal_(self.position_embedding.weight, std=0.02)

    def positions(self) -> Tensor | None:
        """Return the position embeddings of a chunk [horizon, width]; None = none."""
        if not self.config.add_pos_embed:
            return None
        return self.position_embedding.weight[: self.config.action_horizon]

    @property
    def dtype(self) -> torch.dtype:
        """Return the element type of the weights."""
        return self.state_encoder.layer1.W.dtype

    def context(self, backbone: BackboneOutput, state: Tensor, embodiment: Tensor) -> HeadContext:
        """Normalise the features and encode the state; each family has its own tokens.

        Args:
            backbone: outputs of the backbone.
            state: [B, T_state, max_state_dim], normalised.
            embodiment: int64 [B], row of the category-specific weights.

        """
        raise NotImplementedError

    def encode_actions(self, actions: Tensor, timestep: Tensor, embodiment: Tensor) -> Tensor:
        """Encode actions [B, H, A] as tokens [B, H, width].

        `timestep` is the time bucket of every step, [B, H]; `embodiment` is int64 [B].
        """
        tokens = self.action_encoder(actions, timestep, embodiment)
        if self.config.add_pos_embed:
            tokens = tokens + self.position_embedding.weight[: tokens.shape[1]]
        return tokens

    def transform(
        self, context: HeadContext, actions: Tensor, timestep: Tensor, action_timestep: Tensor
    ) -> Tensor:
        """Return the output of the transformer for all tokens, [B, T, hidden]; see `velocity`."""
        tokens = self.encode_actions(actions, action_timestep, context.embodiment)
        return self.model(
            torch.cat([context.tokens, tokens], dim=1),
            context.features,
            timestep,
            context.attention_mask,
            context.image_mask,
        )

    def velocity(
        self, context: HeadContext, actions: Tensor, timestep: Tensor, action_timestep: Tensor
    ) -> Tensor:
        """Predict the velocity [B, H, A]; each family has its own decoder.

        Args:
            context: context of the observation.
            actions: [B, H, A] in the dtype of the weights.
            timestep: int64 [B], time bucket of the transformer.
            action_timestep: int64 [B, H], time bucket of every action token.

        """
        raise NotImplementedError

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
        velocity = self.velocity(context, actions.to(self.dtype), timestep, action_timestep)
        return euler_step(
            actions,
            velocity.float(),
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
