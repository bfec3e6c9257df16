# SPDX-License-Identifier: Apache-2.0
"""Transformer of plain self-attention blocks, as GR00T N1.5 applies to the backbone's features.

Module names are those of the checkpoint's keys (diffusers' naming).
"""

from torch import Tensor, nn

from groot_ros.core.config_reader import Fields
from groot_ros.layers.dit import DiTConfig, FeedForward, MultiHeadAttention


def parse_self_attention(f: Fields) -> DiTConfig:
    """Read `vl_self_attention_cfg`; omitted keys take the defaults of the reference's class.

    `output_dim` has no effect, as there is no output projection.
    """
    f.expect("positional_embeddings", None, "sinusoidal")
    f.expect("activation_fn", "gelu-approximate", "gelu-approximate")
    return DiTConfig(
        num_layers=f.integer("num_layers", 12, at_least=1),
        num_attention_heads=f.integer("num_attention_heads", 8, at_least=1),
        attention_head_dim=f.integer("attention_head_dim", 64, at_least=1),
        dropout=f.number("dropout", 0.1),
        final_dropout=f.flag("final_dropout", True),
        attention_bias=f.flag("attention_bias", True),
    )


class SelfAttentionBlock(nn.Module):
    """Transformer block: x += attention(norm(x)); x += feed-forward(norm(x))."""

    def __init__(self, config: DiTConfig) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(config.inner_dim, eps=config.norm_eps)
        self.attn1 = MultiHeadAttention(config, config.inner_dim)
        self.norm3 = nn.LayerNorm(config.inner_dim, eps=config.norm_eps)
        self.ff = FeedForward(config)
        self.final_dropout = nn.Dropout(config.dropout if config.final_dropout else 0.0)

    def forward(self, x: Tensor) -> Tensor:
        """Map x [B, S, C] to [B, S, C]; padding is attended to, as in the reference."""
        normed = self.norm1(x)
        x = self.final_dropout(self.attn1(normed, normed, None)) + x
        return self.ff(self.norm3(x)) + x


class SelfAttentionTransformer(nn.Module):
    """Stack of self-attention blocks without masks and positions."""

    def __init__(self, config: DiTConfig) -> None:
        super().__init__()
        self.transformer_blocks = nn.ModuleList(
            SelfAttentionBlock(config) for _ in range(config.num_layers)
        )

    def forward(self, x: Tensor, trace: list[Tensor] | None = None) -> Tensor:
        """Map [B, S, C] to [B, S, C]; `trace` collects every block's input and the result."""
        for block in self.transformer_blocks:
            if trace is not None:
                trace.append(x)
            x = block(x)
        if trace is not None:
            trace.append(x)
        return x
