# SPDX-License-Identifier: Apache-2.0
"""First layers of the Qwen3 text tower; the vocabulary head is never computed.

Module names are those of the checkpoint's keys.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from groot_ros.core.config_reader import Fields
from groot_ros.layers.attention import attention, flash_for


@dataclass(frozen=True)
class TextConfig:
    """Configuration of the Qwen3 tower.

    `num_hidden_layers` counts the layers of the VLM; the policy uses only the first of them.
    """

    vocab_size: int = 151680
    hidden_size: int = 2048
    intermediate_size: int = 6144
    num_hidden_layers: int = 28
    num_attention_heads: int = 16
    num_key_value_heads: int = 8
    head_dim: int = 128
    rms_norm_eps: float = 1e-6
    rope_theta: float = 1e6
    attention_bias: bool = False

    @classmethod
    def parse(cls, f: Fields) -> "TextConfig":
        """Read the `text_config` section of the VLM's config; most sizes are required."""
        f.expect("model_type", "qwen3", "qwen3")
        f.expect("hidden_act", "silu", "silu")
        f.expect("rope_scaling", None, None)
        f.expect("use_sliding_window", False, False)
        # transformers 5 writes a section rope_parameters, transformers 4 a key rope_theta.
        rope = f.section("rope_parameters", {})
        rope.expect("rope_type", "default", "default")
        return cls(
            vocab_size=f.integer("vocab_size", at_least=1),
            hidden_size=f.integer("hidden_size", at_least=1),
            intermediate_size=f.integer("intermediate_size", at_least=1),
            num_hidden_layers=f.integer("num_hidden_layers", at_least=1),
            num_attention_heads=f.integer("num_attention_heads", at_least=1),
            num_key_value_heads=f.integer("num_key_value_heads", at_least=1),
            head_dim=f.integer("head_dim", 128, at_least=2),
            rms_norm_eps=f.number("rms_norm_eps", 1e-6),
            rope_theta=rope.number("rope_theta", f.number("rope_theta", 10000.0)),
            attention_bias=f.flag("attention_bias", False),
        )


class RMSNorm(nn.Module):
    """x / rms(x) * weight, computed in float32."""

    def __init__(self, size: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """Normalise [..., size]."""
        wide = x.float()
        wide = wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + self.eps)
        return self.weight * wide.to(x.dtype)


def rope_1d(
    length: int, head_dim: int, theta: float, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Return cos and sin, float32 [length, head_dim]; the two halves of each row are equal."""
    frequency = 1.0 / theta ** (torch.arange(0, head_dim, 2, device=device).float() / head_dim)
    angles = torch.arange(length, device=device).float()[:, None] * frequency
    angles = torch.cat([angles, angles], dim=-1)
    return angles.cos(), angles.sin()


def rotate_half(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate channel i with channel i + D/2 of [B, heads, T, D]."""
    first, second = x.chunk(2, dim=-1)
    return x * cos + torch.cat([-second, first], dim=-1) * sin


class GroupedQueryAttention(nn.Module):
    """Grouped-query causal attention with per-head RMS norm of queries and keys."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.head_dim = config.head_dim
        self.groups = config.num_attention_heads // config.num_key_value_heads
        wide = config.num_attention_heads * config.head_dim
        narrow = config.num_key_value_heads * config.head_dim
        bias = config.attention_bias
        self.q_proj = nn.Linear(config.hidden_size, wide, bias=bias)
        self.k_proj = nn.Linear(config.hidden_size, narrow, bias=bias)
        self.v_proj = nn.Linear(config.hidden_size, narrow, bias=bias)
        self.o_proj = nn.Linear(wide, config.hidden_size, bias=bias)
        self.q_norm = RMSNorm(config.head_dim, config.rms_norm_eps)
        self.k_norm = RMSNorm(config.head_dim, config.rms_norm_eps)

    def forward(
        self,
        x: Tensor,
        rope: tuple[Tensor, Tensor],
        mask: Tensor,
        valid: Tensor,
        causal: bool,
    ) -> Tensor:
        """Attend within x [B, T, C]; the heads' outputs are zero for padded queries.

        Args:
            x: hidden states [B, T, C].
            rope: cos and sin [T, head_dim].
            mask: bool, broadcast to [B, heads, T, T], True where a key is visible.
            valid: bool [B, T], False = padding.
            causal: True if the mask is exactly the causal one.

        """
        q = self.q_norm(self.q_proj(x).unflatten(-1, (-1, self.head_dim))).transpose(1, 2)
        k = self.k_norm(self.k_proj(x).unflatten(-1, (-1, self.head_dim))).transpose(1, 2)
        v = self.v_proj(x).unflatten(-1, (-1, self.head_dim)).transpose(1, 2)
        q, k = rotate_half(q, *rope), rotate_half(k, *rope)
        k = k.repeat_interleave(self.groups, dim=1)
        v = v.repeat_interleave(self.groups, dim=1)
        out = attention(q, k, v, mask, causal)
        out = out.masked_fill(~valid[:, None, :, None], 0.0)
        return self.o_proj(out.transpose(1, 2).flatten(2))


class MLP(nn.Module):
    """Gated SiLU feed-forward."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.up_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.down_proj = nn.Linear(config.intermediate_size, config.hidden_size, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map [..., C] to [..., C]."""
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class Layer(nn.Module):
    """Pre-norm transformer layer."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.input_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.self_attn = GroupedQueryAttention(config)
        self.post_attention_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.mlp = MLP(config)

    def forward(
        self,
        x: Tensor,
        rope: tuple[Tensor, Tensor],
        mask: Tensor,
        valid: Tensor,
        causal: bool,
    ) -> Tensor:
        """Map [B, T, C] to [B, T, C]; the arguments are those of `GroupedQueryAttention`."""
        x = x + self.self_attn(self.input_layernorm(x), rope, mask, valid, causal)
        return x + self.mlp(self.post_attention_layernorm(x))


class Qwen3(nn.Module):
    """Qwen3 decoder from token embeddings to normalised hidden states."""

    def __init__(self, config: TextConfig, layers: int) -> None:
        super().__init__()
        self.config = config
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        nn.init.normal_(self.embed_tokens.weight, std=0.02)
        self.layers = nn.ModuleList(Layer(config) for _ in range(layers))
        self.norm = RMSNorm(config.hidden_size, config.rms_norm_eps)

    def forward(
        self, x: Tensor, attention_mask: Tensor, trace: list[Tensor] | None = None
    ) -> Tensor:
        """Return the hidden states [B, T, C].

        Positions count from 0 and include the left padding, as in the reference.

        Args:
            x: embeddings [B, T, C].
            attention_mask: bool [B, T], False = padding.
            trace: if given, collects the input of every layer and the result.

        """
        length = x.shape[1]
        cos, sin = rope_1d(length, self.config.head_dim, self.config.rope_theta, x.device)
        rope = cos.to(x.dtype), sin.to(x.dtype)
        causal = torch.ones(length, length, dtype=torch.bool, device=x.device).tril()
        # The diagonal stays visible so that padded queries have a key; softmax would give NaN.
        diagonal = torch.eye(length, dtype=torch.bool, device=x.device)
        mask = (causal & attention_mask[:, None, :] | diagonal)[:, None]
        # `all` waits for the device, so it is called only if a causal kernel can be used.
        flash = flash_for(x, self.config.head_dim)
        causal_only = flash is not None and bool(attention_mask.all())
        for layer in self.layers:
            if trace is not None:
                trace.append(x)
            x = layer(x, rope, mask, attention_mask, causal_only)
        x = self.norm(x)
        if trace is not None:
            trace.append(x)
        return x
