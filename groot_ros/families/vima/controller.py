# SPDX-License-Identifier: Apache-2.0
"""Controller of VIMA (XAttnGPT): each layer attends to the prompt, then to the history.

Positions are counted over the valid tokens only, separately for history and prompt, so padding
changes no other token. Keys and values of earlier tokens are kept in a `History`, and those of the
prompt in a `PromptMemory`: a step computes its own tokens only.
"""

from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from groot_ros.families.vima.config import VimaConfig
from groot_ros.layers.attention import attention

#: Keys and values of one layer, [B, heads, T, d] each.
KeysAndValues = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class PromptMemory:
    """Encoded prompt, as the layers of the controller attend to it.

    Attributes:
        layers: keys and values of every layer, [B, heads, S, d].
        mask: bool [B, S], True for a token.

    """

    layers: tuple[KeysAndValues, ...]
    mask: Tensor


@dataclass(frozen=True)
class History:
    """Tokens that the controller has processed.

    Attributes:
        layers: keys and values of every layer, [B, heads, T, d].
        mask: bool [B, T], True for a token.

    """

    layers: tuple[KeysAndValues, ...]
    mask: Tensor


class Projection(nn.Module):
    """Linear layer whose weight is stored as [inputs, outputs]."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(0.02 * torch.randn(inputs, outputs))
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """Map [..., inputs] to [..., outputs]."""
        return x @ self.weight + self.bias


class SelfAttention(nn.Module):
    """Attention to the tokens so far."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.c_attn = Projection(width, 3 * width)
        self.c_proj = Projection(width, width)

    def forward(
        self, x: Tensor, visible: Tensor, past: KeysAndValues | None
    ) -> tuple[Tensor, KeysAndValues]:
        """Map [B, T, C] to [B, T, C], and return keys and values of all tokens so far.

        Args:
            x: new tokens.
            visible: bool [B, 1, T, S], True where a query sees a key.
            past: keys and values of the S - T tokens before.

        """
        q, k, v = self.c_attn(x).unflatten(-1, (3, self.heads, -1)).transpose(1, 3).unbind(2)
        if past is not None:
            k, v = torch.cat([past[0], k], dim=2), torch.cat([past[1], v], dim=2)
        out = attention(q, k, v, visible)
        return self.c_proj(out.transpose(1, 2).flatten(2)), (k, v)

    def weights(self, x: Tensor, visible: Tensor) -> Tensor:
        """Return the attention weights [B, heads, T, T] of tokens [B, T, C] without a past.

        Args:
            x: tokens.
            visible: bool [B, 1, T, T], True where a query sees a key.

        """
        q, k, _ = self.c_attn(x).unflatten(-1, (3, self.heads, -1)).transpose(1, 3).unbind(2)
        return _weights(q, k, visible)


class FeedForward(nn.Module):
    """Two layers with GELU; with a gate it is the exact one, without it the approximation."""

    def __init__(self, width: int, gated: bool) -> None:
        super().__init__()
        self.c_fc = Projection(width, 4 * width)
        self.c_proj = Projection(4 * width, width)
        self.gated_layer = nn.Linear(width, 4 * width, bias=False) if gated else None

    def forward(self, x: Tensor) -> Tensor:
        """Map [..., C] to [..., C]."""
        if self.gated_layer is None:
            return self.c_proj(F.gelu(self.c_fc(x), approximate="tanh"))
        return self.c_proj(F.gelu(self.c_fc(x)) * self.gated_layer(x))


class SelfAttentionLayer(nn.Module):
    """Post-norm transformer layer over the history."""

    def __init__(self, config: VimaConfig) -> None:
        super().__init__()
        width = config.embed_dim
        self.attn = SelfAttention(width, config.sattn_n_heads)
        self.ln_1 = nn.LayerNorm(width)
        self.mlp = FeedForward(width, config.use_geglu)
        self.ln_2 = nn.LayerNorm(width)

    def forward(
        self, x: Tensor, visible: Tensor, past: KeysAndValues | None
    ) -> tuple[Tensor, KeysAndValues]:
        """Map [B, T, C] to [B, T, C]; see `SelfAttention`."""
        attended, layer = self.attn(x, visible, past)
        x = self.ln_1(x + attended)
        return self.ln_2(x + self.mlp(x)), layer


class CrossAttentionLayer(nn.Module):
    """Attention to the prompt; queries are normalised, keys and values are not."""

    def __init__(self, config: VimaConfig) -> None:
        super().__init__()
        width = config.embed_dim
        inner = width * config.xattn_ff_expanding
        self.heads = config.xattn_n_heads
        self.layernorm = nn.LayerNorm(width)
        self.query = nn.Linear(width, width, bias=False)
        self.key_value = nn.Linear(width, 2 * width, bias=False)
        self.attention_out = nn.Linear(width, width, bias=False)
        self.ln = nn.LayerNorm(width)
        self.linear1 = nn.Linear(width, inner, bias=False)
        self.linear2 = nn.Linear(inner, width, bias=False)
        self.gated_layer = nn.Linear(width, inner, bias=False) if config.use_geglu else None

    def keys_and_values(self, prompt: Tensor) -> KeysAndValues:
        """Return keys and values of a prompt [B, S, C]."""
        k, v = self.key_value(prompt).unflatten(-1, (2, self.heads, -1)).transpose(1, 3).unbind(2)
        return k, v

    def forward(self, x: Tensor, prompt: KeysAndValues, mask: Tensor) -> Tensor:
        """Map [B, T, C] to [B, T, C]; mask is bool [B, 1, 1, S]."""
        q = self.query(self.layernorm(x)).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        out = attention(q, *prompt, mask)
        x = x + self.attention_out(out.transpose(1, 2).flatten(2))
        hidden = F.gelu(self.linear1(self.ln(x)))
        if self.gated_layer is not None:
            # The gate sees the attention's output before the norm.
            hidden = hidden * self.gated_layer(x)
        return x + self.linear2(hidden)

    def weights(self, x: Tensor, prompt: KeysAndValues, mask: Tensor) -> Tensor:
        """Return the attention weights [B, heads, T, S]; see `forward`."""
        q = self.query(self.layernorm(x)).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        return _weights(q, prompt[0], mask)


class Controller(nn.Module):
    """Transformer over observations and actions, conditioned on the prompt in every layer."""

    def __init__(self, config: VimaConfig) -> None:
        super().__init__()
        layers = range(config.xf_n_layers)
        self.positions_embed = nn.Embedding(config.n_positions, config.embed_dim)
        self.xattn_positions_embed = nn.Embedding(config.xattn_n_positions, config.embed_dim)
        self.h = nn.ModuleList(SelfAttentionLayer(config) for _ in layers)
        self.xattns = nn.ModuleList(CrossAttentionLayer(config) for _ in layers)

    def remember(self, prompt: Tensor, mask: Tensor) -> PromptMemory:
        """Compute what the layers need of a prompt.

        Args:
            prompt: encoded prompt [B, S, C].
            mask: bool [B, S], True for a token.

        Raises:
            ValueError: the prompt has no token, or more tokens than positions.

        """
        if not bool(mask.any(dim=1).all()):
            raise ValueError("a prompt has no token")
        embedded = _positions(self.xattn_positions_embed, mask, 0, "a prompt")
        layers = tuple(
            cast(CrossAttentionLayer, layer).keys_and_values(prompt + embedded)
            for layer in self.xattns
        )
        return PromptMemory(layers, mask)

    def forward(
        self, tokens: Tensor, mask: Tensor, prompt: PromptMemory, history: History | None = None
    ) -> tuple[Tensor, History]:
        """Process new tokens.

        Args:
            tokens: [B, T, C].
            mask: bool [B, T], True for a token, False for padding.
            prompt: prompt of each row.
            history: tokens before these; None begins a history.

        Returns:
            Outputs [B, T, C], and the history that includes the new tokens.

        Raises:
            ValueError: a history begins with padding, or has more tokens than positions.

        """
        seen: Tensor | int = 0
        known = mask
        if history is None:
            if not bool(mask[:, 0].all()):
                raise ValueError("a history begins with padding: its first object must be visible")
        else:
            seen = history.mask.sum(dim=1, keepdim=True)
            known = torch.cat([history.mask, mask], dim=1)
        x = tokens + _positions(self.positions_embed, mask, seen, "a history")
        new, total = mask.shape[1], known.shape[1]
        causal = torch.ones(new, total, dtype=torch.bool, device=mask.device).tril(total - new)
        visible = (causal & known[:, None, :])[:, None]
        in_prompt = prompt.mask[:, None, None, :]
        layers = []
        for index, (own, cross) in enumerate(zip(self.h, self.xattns, strict=True)):
            past = None if history is None else history.layers[index]
            x = cross(x, prompt.layers[index], in_prompt)
            x, layer = own(x, visible, past)
            layers.append(layer)
        return x, History(tuple(layers), known)


def _weights(q: Tensor, k: Tensor, visible: Tensor) -> Tensor:
    """Return softmax(q k' / sqrt(d)) of the visible keys."""
    scores = q @ k.mT * q.shape[-1] ** -0.5
    return scores.masked_fill(~visible, float("-inf")).softmax(-1)


def _positions(table: nn.Embedding, mask: Tensor, seen: Tensor | int, what: str) -> Tensor:
    """Return the position embeddings [B, T, C] of tokens after `seen` [B, 1] others.

    Padding has the position of the token before it.
    """
    positions = (seen + mask.cumsum(dim=1) - 1).clamp(min=0)
    needed = int(positions.max()) + 1
    if needed > table.num_embeddings:
        raise ValueError(
            f"{what} has {needed} tokens, but the checkpoint has {table.num_embeddings} positions"
        )
    return table(positions)
