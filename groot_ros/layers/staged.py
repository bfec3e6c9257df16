# SPDX-License-Identifier: Apache-2.0
"""Transformer layers of the staged model: fused products, and only the masks that are needed.

Each is built from a layer of the reference model and reuses its weights. The reference model
cannot run afterwards.
"""

from collections.abc import Sequence
from typing import cast

import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from groot_ros.layers import qwen3, siglip2
from groot_ros.layers.attention import Attention
from groot_ros.layers.dit import GELU, Block
from groot_ros.layers.fusion import stack, take_layers
from groot_ros.layers.self_attention import SelfAttentionBlock

#: Epsilon of the LayerNorm in AdaLayerNorm, as in `layers.dit`.
_ADAPTIVE_EPS = 1e-5


class VisionLayer(nn.Module):
    """Vision tower layer with query, key and value in one product."""

    def __init__(self, layer: siglip2.Layer) -> None:
        super().__init__()
        attention = layer.self_attn
        self.heads = attention.heads
        self.norm1, self.norm2 = layer.layer_norm1, layer.layer_norm2
        self.qkv = stack([attention.q_proj, attention.k_proj, attention.v_proj])
        self.out = attention.out_proj
        self.fc1, self.fc2 = layer.mlp.fc1, layer.mlp.fc2
        self.attend = Attention()

    def forward(self, x: Tensor, rope: tuple[Tensor, Tensor] | None, mask: Tensor | None) -> Tensor:
        """Map patches of V views [V, N, C] to [V, N, C].

        Args:
            x: hidden states [V, N, C].
            rope: cos and sin [N, head_dim/2]; None = no rotation.
            mask: bool [N, N], True where a patch is visible; None = all.

        """
        q, k, v = self.qkv(self.norm1(x)).unflatten(-1, (3, self.heads, -1)).unbind(2)
        q, k, v = (t.transpose(1, 2) for t in (q, k, v))
        if rope is not None:
            q, k = siglip2.rotate_pairs(q, *rope), siglip2.rotate_pairs(k, *rope)
        x = x + self.out(self.attend(q, k, v, mask))
        return x + self.fc2(F.gelu(self.fc1(self.norm2(x)), approximate="tanh"))


class LanguageLayer(nn.Module):
    """Language tower layer: query, key and value in one product, gate and up in another."""

    def __init__(self, config: qwen3.TextConfig, layer: qwen3.Layer) -> None:
        super().__init__()
        attention, mlp = layer.self_attn, layer.mlp
        self.head_dim = config.head_dim
        self.heads, self.groups = config.num_attention_heads, config.num_key_value_heads
        self.norm1, self.norm2 = layer.input_layernorm, layer.post_attention_layernorm
        self.q_norm, self.k_norm = attention.q_norm, attention.k_norm
        self.qkv = stack([attention.q_proj, attention.k_proj, attention.v_proj])
        self.out = attention.o_proj
        self.gate_up = stack([mlp.gate_proj, mlp.up_proj])
        self.down = mlp.down_proj
        self.attend = Attention(causal=True)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """Map [1, S, C] to [1, S, C]; cos and sin are [S, head_dim]."""
        heads = self.qkv(self.norm1(x)).unflatten(-1, (-1, self.head_dim))
        q, k, v = heads.split([self.heads, self.groups, self.groups], dim=2)
        q = qwen3.rotate_half(self.q_norm(q).transpose(1, 2), cos, sin)
        k = qwen3.rotate_half(self.k_norm(k).transpose(1, 2), cos, sin)
        x = x + self.out(self.attend(q, k, v.transpose(1, 2)))
        gate, up = self.gate_up(self.norm2(x)).chunk(2, dim=-1)
        return x + self.down(F.silu(gate) * up)


class Language(nn.Module):
    """Language tower, built from the weights of `qwen` without its token embeddings."""

    def __init__(
        self, config: qwen3.TextConfig, qwen: qwen3.Qwen3, project: nn.Module | None = None
    ) -> None:
        """Take the weights of a tower; `project` is applied to its features."""
        super().__init__()
        layers = take_layers(qwen.layers, qwen3.Layer)
        self.layers = nn.ModuleList(LanguageLayer(config, layer) for layer in layers)
        self.norm = qwen.norm
        self.project = project

    def forward(self, embeddings: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """Compute features [1, S, D] from embeddings [1, S, D]; cos and sin are [S, d]."""
        x = embeddings
        for layer in self.layers:
            x = layer(x, cos, sin)
        x = self.norm(x)
        return x if self.project is None else self.project(x)


class SelfAttentionLayer(nn.Module):
    """Plain transformer block with query, key and value in one product."""

    def __init__(self, block: SelfAttentionBlock) -> None:
        super().__init__()
        attention = block.attn1
        self.heads = attention.heads
        self.norm1, self.norm2 = block.norm1, block.norm3
        self.qkv = stack([attention.to_q, attention.to_k, attention.to_v])
        self.out = attention.to_out[0]
        self.up, self.down = cast(GELU, block.ff.net[0]).proj, block.ff.net[2]
        self.attend = Attention()

    def forward(self, x: Tensor) -> Tensor:
        """Map [1, S, C] to [1, S, C]."""
        parts = self.qkv(self.norm1(x)).unflatten(-1, (3, self.heads, -1)).unbind(2)
        q, k, v = (t.transpose(1, 2) for t in parts)
        x = x + self.out(self.attend(q, k, v))
        return x + self.down(F.gelu(self.up(self.norm2(x)), approximate="tanh"))


class DenoiseBlock(nn.Module):
    """Diffusion transformer block that takes its modulation as an input.

    A cross-attention block also takes its keys and values as inputs.
    """

    def __init__(self, block: Block, cross: bool) -> None:
        super().__init__()
        attention = block.attn1
        self.heads, self.cross = attention.heads, cross
        self.query = (
            attention.to_q if cross else stack([attention.to_q, attention.to_k, attention.to_v])
        )
        self.out = attention.to_out[0]
        self.norm_eps = block.norm3.eps
        self.up, self.down = cast(GELU, block.ff.net[0]).proj, block.ff.net[2]
        self.attend = Attention()

    def forward(self, x: Tensor, modulation: Tensor, keys_and_values: Sequence[Tensor]) -> Tensor:
        """Map x [1, T, C] to [1, T, C].

        Args:
            x: tokens [1, T, C].
            modulation: (1 + scale, shift), [2, C].
            keys_and_values: two tensors [1, heads, S, d]; unused without cross-attention.

        """
        width = (x.shape[-1],)
        normed = F.layer_norm(x, width, modulation[0], modulation[1], _ADAPTIVE_EPS)
        projected = self.query(normed)
        if self.cross:
            q = projected.unflatten(-1, (self.heads, -1)).transpose(1, 2)
            k, v = keys_and_values
        else:
            parts = projected.unflatten(-1, (3, self.heads, -1)).unbind(2)
            q, k, v = (t.transpose(1, 2) for t in parts)
        x = x + self.out(self.attend(q, k, v))
        wide = F.gelu(self.up(F.layer_norm(x, width, eps=self.norm_eps)), approximate="tanh")
        return x + self.down(wide)
