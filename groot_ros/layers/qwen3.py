"""Qwen3 text tower, cut to its first layers; the vocabulary head is never computed.

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
    """Qwen3 tower; `num_hidden_layers` is the VLM's own, the policy keeps the first of them."""

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
        """From the `text_config` of the VLM's config; sizes have no default."""
        f.expect("model_type", "qwen3", "qwen3")
        f.expect("hidden_act", "silu", "silu")
        f.expect("rope_scaling", None, None)
        f.expect("use_sliding_window", False, False)
        # transformers 5 writes rope_parameters, 4 rope_theta beside the other keys.
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
        """[..., size] to [..., size]."""
        wide = x.float()
        wide = wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + self.eps)
        return self.weight * wide.to(x.dtype)


def rope_1d(
    length: int, head_dim: int, theta: float, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Cos and sin [length, head_dim] in float32, both halves alike."""
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
        """[B, T, C] to [B, T, C]; rows of padded queries come out of the heads as zeros.

        `causal` says that the mask hides nothing but the future.
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
        """[..., C] to [..., C]."""
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
        """[B, T, C] to [B, T, C]."""
        x = x + self.self_attn(self.input_layernorm(x), rope, mask, valid, causal)
        return x + self.mlp(self.post_attention_layernorm(x))


class Qwen3(nn.Module):
    """Embeddings in, final-normed hidden states out."""

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
        """[B, T, C] embeddings and bool [B, T] (False = padding) to [B, T, C].

        Positions count from 0 with the left padding included, as in the reference.
        """
        length = x.shape[1]
        cos, sin = rope_1d(length, self.config.head_dim, self.config.rope_theta, x.device)
        rope = cos.to(x.dtype), sin.to(x.dtype)
        causal = torch.ones(length, length, dtype=torch.bool, device=x.device).tril()
        # The diagonal stays open so that no softmax runs over nothing at padded queries.
        diagonal = torch.eye(length, dtype=torch.bool, device=x.device)
        mask = (causal & attention_mask[:, None, :] | diagonal)[:, None]
        # Read back from the device only where a kernel for the purely causal case exists.
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
