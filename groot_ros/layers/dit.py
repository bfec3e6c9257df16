# SPDX-License-Identifier: Apache-2.0
"""Diffusion transformer: even blocks cross-attend to the backbone, odd blocks self-attend.

Module names are those of the checkpoint's keys (diffusers' naming).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from groot_ros.core.config_reader import Fields
from groot_ros.layers.attention import attention


@dataclass(frozen=True)
class DiTConfig:
    """Configuration of the action head's diffusion transformer (`diffusion_model_cfg`)."""

    num_layers: int = 32
    num_attention_heads: int = 32
    attention_head_dim: int = 48
    output_dim: int = 1024
    dropout: float = 0.2
    final_dropout: bool = True
    attention_bias: bool = True
    norm_eps: float = 1e-5

    @property
    def inner_dim(self) -> int:
        """Return the width of the residual stream."""
        return self.num_attention_heads * self.attention_head_dim

    @classmethod
    def parse(cls, f: Fields) -> "DiTConfig":
        """Read the configuration; omitted keys take the defaults of the reference's DiT class."""
        f.expect("norm_type", "ada_norm", "ada_norm")
        f.expect("positional_embeddings", None, "sinusoidal")
        f.expect("interleave_self_attention", True, False)
        f.expect("activation_fn", "gelu-approximate", "gelu-approximate")
        f.expect("norm_elementwise_affine", False, False)
        return cls(
            num_layers=f.integer("num_layers", 12, at_least=1),
            num_attention_heads=f.integer("num_attention_heads", 8, at_least=1),
            attention_head_dim=f.integer("attention_head_dim", 64, at_least=1),
            output_dim=f.integer("output_dim", 26, at_least=1),
            dropout=f.number("dropout", 0.1),
            final_dropout=f.flag("final_dropout", True),
            attention_bias=f.flag("attention_bias", True),
            norm_eps=f.number("norm_eps", 1e-5),
        )


TIME_CHANNELS = 256


def time_projection(timestep: Tensor) -> Tensor:
    """Encode time buckets [B] as float32 [B, 256]: the cosines first, then the sines.

    The frequencies are exp(-ln(1e4) k / 127) for k = 0, 1, ... 127.
    """
    half = TIME_CHANNELS // 2
    k = torch.arange(half, dtype=torch.float32, device=timestep.device)
    angles = timestep.float()[:, None] * torch.exp(-math.log(10000.0) * k / (half - 1))
    return torch.cat([angles.cos(), angles.sin()], dim=-1)


class TimestepEmbedder(nn.Module):
    """Two linear layers with SiLU between them."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear_1 = nn.Linear(TIME_CHANNELS, width)
        self.linear_2 = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, 256] to [B, width]."""
        return self.linear_2(F.silu(self.linear_1(x)))


class TimestepEncoder(nn.Module):
    """Encoder of a time bucket as the embedding that modulates every block."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.timestep_embedder = TimestepEmbedder(width)

    def forward(self, timestep: Tensor) -> Tensor:
        """Embed time buckets, int64 [B], as [B, width]."""
        dtype = self.timestep_embedder.linear_1.weight.dtype
        return self.timestep_embedder(time_projection(timestep).to(dtype))


class AdaLayerNorm(nn.Module):
    """LayerNorm without parameters, scaled and shifted by the time embedding."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, 2 * width)
        self.norm = nn.LayerNorm(width, eps=1e-5, elementwise_affine=False)

    def forward(self, x: Tensor, temb: Tensor) -> Tensor:
        """Normalise and modulate x [B, T, C] by temb [B, C].

        The linear layer's output is split into (scale, shift), in this order.
        """
        scale, shift = self.linear(F.silu(temb)).chunk(2, dim=1)
        return self.norm(x) * (1 + scale[:, None]) + shift[:, None]


class MultiHeadAttention(nn.Module):
    """Multi-head attention to `kv`, which may have another width."""

    def __init__(self, config: DiTConfig, kv_dim: int) -> None:
        super().__init__()
        self.heads = config.num_attention_heads
        width, bias = config.inner_dim, config.attention_bias
        self.to_q = nn.Linear(width, width, bias=bias)
        self.to_k = nn.Linear(kv_dim, width, bias=bias)
        self.to_v = nn.Linear(kv_dim, width, bias=bias)
        self.to_out = nn.ModuleList([nn.Linear(width, width), nn.Dropout(config.dropout)])

    def forward(self, x: Tensor, kv: Tensor, mask: Tensor | None) -> Tensor:
        """Attend from x [B, T, C] to kv [B, S, kv_dim]; returns [B, T, C].

        `mask` is bool [B, S], True where a key is visible; None = all.
        """
        q, k, v = (
            t.unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for t in (self.to_q(x), self.to_k(kv), self.to_v(kv))
        )
        keys = None if mask is None else mask[:, None, None, :]
        out = attention(q, k, v, keys)
        projection, dropout = self.to_out
        return dropout(projection(out.transpose(1, 2).flatten(2)))


class GELU(nn.Module):
    """Linear and tanh-approximated GELU."""

    def __init__(self, in_dim: int, out_dim: int) -> None:
        super().__init__()
        self.proj = nn.Linear(in_dim, out_dim)

    def forward(self, x: Tensor) -> Tensor:
        """Map [..., in] to [..., out]."""
        return F.gelu(self.proj(x), approximate="tanh")


class FeedForward(nn.Module):
    """Feed-forward network whose hidden layer is four times as wide."""

    def __init__(self, config: DiTConfig) -> None:
        super().__init__()
        width = config.inner_dim
        self.net = nn.Sequential(
            GELU(width, 4 * width), nn.Dropout(config.dropout), nn.Linear(4 * width, width)
        )
        if config.final_dropout:
            self.net.append(nn.Dropout(config.dropout))

    def forward(self, x: Tensor) -> Tensor:
        """Map [..., C] to [..., C]."""
        return self.net(x)


class Block(nn.Module):
    """Transformer block: x += attention(adaptive norm(x)); x += feed-forward(norm(x))."""

    def __init__(self, config: DiTConfig, kv_dim: int) -> None:
        super().__init__()
        self.norm1 = AdaLayerNorm(config.inner_dim)
        self.attn1 = MultiHeadAttention(config, kv_dim)
        self.norm3 = nn.LayerNorm(config.inner_dim, eps=config.norm_eps, elementwise_affine=False)
        self.ff = FeedForward(config)
        self.final_dropout = nn.Dropout(config.dropout if config.final_dropout else 0.0)

    def forward(self, x: Tensor, temb: Tensor, kv: Tensor | None, mask: Tensor | None) -> Tensor:
        """Map x [B, T, C] to [B, T, C].

        Args:
            x: tokens [B, T, C].
            temb: time embedding [B, C].
            kv: features [B, S, kv_dim] for cross-attention; None = self-attention.
            mask: bool [B, S], True where a key is visible; None = all.

        """
        normed = self.norm1(x, temb)
        attended = self.attn1(normed, normed if kv is None else kv, mask)
        x = self.final_dropout(attended) + x
        return self.ff(self.norm3(x)) + x


class DiT(nn.Module):
    """Diffusion transformer on state and action tokens, output projection included."""

    def __init__(self, config: DiTConfig, kv_dim: int) -> None:
        super().__init__()
        width = config.inner_dim
        self.timestep_encoder = TimestepEncoder(width)
        self.transformer_blocks = nn.ModuleList(
            Block(config, kv_dim if self.is_cross(i) else width) for i in range(config.num_layers)
        )
        self.norm_out = nn.LayerNorm(width, eps=1e-6, elementwise_affine=False)
        self.proj_out_1 = nn.Linear(width, 2 * width)
        self.proj_out_2 = nn.Linear(width, config.output_dim)

    @staticmethod
    def is_cross(block: int) -> bool:
        """Tell whether a block attends to the backbone's features, as every even block does."""
        return block % 2 == 0

    def cross_masks(
        self, attention_mask: Tensor | None, image_mask: Tensor | None
    ) -> Sequence[Tensor | None]:
        """Return one mask per block, bool [B, S], True where a feature is visible.

        None = all features, padding included.
        """
        return [None] * len(self.transformer_blocks)

    def forward(
        self,
        x: Tensor,
        features: Tensor,
        timestep: Tensor,
        attention_mask: Tensor | None = None,
        image_mask: Tensor | None = None,
        trace: list[Tensor] | None = None,
    ) -> Tensor:
        """Denoise tokens.

        Args:
            x: state and action tokens [B, T, C].
            features: backbone features [B, S, kv_dim].
            timestep: time buckets, int64 [B].
            attention_mask: bool [B, S], False = padding; the plain transformer ignores it.
            image_mask: bool [B, S], True = image token; the plain transformer ignores it.
            trace: if given, collects the input of every block and the output of the last.

        Returns:
            [B, T, output_dim].

        """
        temb = self.timestep_encoder(timestep)
        masks = self.cross_masks(attention_mask, image_mask)
        for index, (block, mask) in enumerate(zip(self.transformer_blocks, masks, strict=True)):
            if trace is not None:
                trace.append(x)
            x = block(x, temb, features if self.is_cross(index) else None, mask)
        if trace is not None:
            trace.append(x)
        # The order is (shift, scale), the reverse of that in AdaLayerNorm.
        shift, scale = self.proj_out_1(F.silu(temb)).chunk(2, dim=1)
        x = self.norm_out(x) * (1 + scale[:, None]) + shift[:, None]
        return self.proj_out_2(x)


class AlternateVLDiT(DiT):
    """Diffusion transformer whose cross-attention alternates between text and image tokens.

    Every n-th cross-attention block attends to the text tokens, the others to the image tokens.
    """

    def __init__(self, config: DiTConfig, kv_dim: int, attend_text_every_n_blocks: int) -> None:
        super().__init__(config, kv_dim)
        self.period = 2 * attend_text_every_n_blocks

    def cross_masks(
        self, attention_mask: Tensor | None, image_mask: Tensor | None
    ) -> Sequence[Tensor | None]:
        """Return the text or image tokens without padding; None for self-attention blocks.

        Raises:
            ValueError: a mask is missing.

        """
        if attention_mask is None or image_mask is None:
            raise ValueError("the alternating transformer needs attention_mask and image_mask")
        image, text = image_mask & attention_mask, ~image_mask & attention_mask
        return [
            (text if index % self.period == 0 else image) if self.is_cross(index) else None
            for index in range(len(self.transformer_blocks))
        ]
