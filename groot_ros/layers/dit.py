"""The diffusion transformer: cross-attention to the backbone on even blocks, self on odd ones.

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
    """The diffusion transformer of the action head (`diffusion_model_cfg`)."""

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
        """Width of the residual stream."""
        return self.num_attention_heads * self.attention_head_dim

    @classmethod
    def parse(cls, f: Fields) -> "DiTConfig":
        """Omitted keys take the defaults of the reference's DiT class."""
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
    """Cosines first, then sines, exp(-ln(1e4) k / 127); [B] to float32 [B, 256]."""
    half = TIME_CHANNELS // 2
    k = torch.arange(half, dtype=torch.float32, device=timestep.device)
    angles = timestep.float()[:, None] * torch.exp(-math.log(10000.0) * k / (half - 1))
    return torch.cat([angles.cos(), angles.sin()], dim=-1)


class TimestepEmbedder(nn.Module):
    """Linear, SiLU, linear."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear_1 = nn.Linear(TIME_CHANNELS, width)
        self.linear_2 = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """[B, 256] to [B, width]."""
        return self.linear_2(F.silu(self.linear_1(x)))


class TimestepEncoder(nn.Module):
    """Time bucket to the embedding that modulates every block."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.timestep_embedder = TimestepEmbedder(width)

    def forward(self, timestep: Tensor) -> Tensor:
        """Int64 [B] to [B, width]."""
        dtype = self.timestep_embedder.linear_1.weight.dtype
        return self.timestep_embedder(time_projection(timestep).to(dtype))


class AdaLayerNorm(nn.Module):
    """LayerNorm without parameters, scaled and shifted by the time embedding."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, 2 * width)
        self.norm = nn.LayerNorm(width, eps=1e-5, elementwise_affine=False)

    def forward(self, x: Tensor, temb: Tensor) -> Tensor:
        """[B, T, C] and [B, C] to [B, T, C]; the halves are (scale, shift), in this order."""
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
        """[B, T, C], [B, S, kv] and bool [B, S] (None = all) to [B, T, C]."""
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
        """[..., in] to [..., out]."""
        return F.gelu(self.proj(x), approximate="tanh")


class FeedForward(nn.Module):
    """Four times as wide inside."""

    def __init__(self, config: DiTConfig) -> None:
        super().__init__()
        width = config.inner_dim
        self.net = nn.Sequential(
            GELU(width, 4 * width), nn.Dropout(config.dropout), nn.Linear(4 * width, width)
        )
        if config.final_dropout:
            self.net.append(nn.Dropout(config.dropout))

    def forward(self, x: Tensor) -> Tensor:
        """[..., C] to [..., C]."""
        return self.net(x)


class Block(nn.Module):
    """x += attention(adaptive norm(x)); x += feed-forward(norm(x))."""

    def __init__(self, config: DiTConfig, kv_dim: int) -> None:
        super().__init__()
        self.norm1 = AdaLayerNorm(config.inner_dim)
        self.attn1 = MultiHeadAttention(config, kv_dim)
        self.norm3 = nn.LayerNorm(config.inner_dim, eps=config.norm_eps, elementwise_affine=False)
        self.ff = FeedForward(config)
        self.final_dropout = nn.Dropout(config.dropout if config.final_dropout else 0.0)

    def forward(self, x: Tensor, temb: Tensor, kv: Tensor | None, mask: Tensor | None) -> Tensor:
        """`kv` None = self-attention."""
        normed = self.norm1(x, temb)
        attended = self.attn1(normed, normed if kv is None else kv, mask)
        x = self.final_dropout(attended) + x
        return self.ff(self.norm3(x)) + x


class DiT(nn.Module):
    """Blocks between the state-action tokens and the head's output projection."""

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
        """Even blocks look at the backbone's features, odd ones at the sequence itself."""
        return block % 2 == 0

    def cross_masks(self, attention_mask: Tensor, image_mask: Tensor) -> Sequence[Tensor | None]:
        """Which features every block may see, bool [B, S]; None = all, padding included."""
        return [None] * len(self.transformer_blocks)

    def forward(
        self,
        x: Tensor,
        features: Tensor,
        timestep: Tensor,
        attention_mask: Tensor,
        image_mask: Tensor,
        trace: list[Tensor] | None = None,
    ) -> Tensor:
        """[B, T, C], [B, S, kv], int64 [B] and two bool [B, S] to [B, T, output_dim]."""
        temb = self.timestep_encoder(timestep)
        masks = self.cross_masks(attention_mask, image_mask)
        for index, (block, mask) in enumerate(zip(self.transformer_blocks, masks, strict=True)):
            if trace is not None:
                trace.append(x)
            x = block(x, temb, features if self.is_cross(index) else None, mask)
        if trace is not None:
            trace.append(x)
        # Unlike in the blocks the order is (shift, scale).
        shift, scale = self.proj_out_1(F.silu(temb)).chunk(2, dim=1)
        x = self.norm_out(x) * (1 + scale[:, None]) + shift[:, None]
        return self.proj_out_2(x)


class AlternateVLDiT(DiT):
    """Every n-th cross-attention block sees the text tokens, the others the image tokens."""

    def __init__(self, config: DiTConfig, kv_dim: int, attend_text_every_n_blocks: int) -> None:
        super().__init__(config, kv_dim)
        self.period = 2 * attend_text_every_n_blocks

    def cross_masks(self, attention_mask: Tensor, image_mask: Tensor) -> Sequence[Tensor | None]:
        """Text or image tokens without padding, alternating; None at self-attention."""
        image, text = image_mask & attention_mask, ~image_mask & attention_mask
        return [
            (text if index % self.period == 0 else image) if self.is_cross(index) else None
            for index in range(len(self.transformer_blocks))
        ]
