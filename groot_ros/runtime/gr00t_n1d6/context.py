"""Stage "context": what stays the same over the denoising steps."""

from typing import cast

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from groot_ros.models.gr00t_n1d6 import ActionHead, Gr00tN1d6Config
from groot_ros.models.gr00t_n1d6.dit import Block
from groot_ros.runtime.contract import group_of_layer, token_groups
from groot_ros.runtime.gr00t_n1d6.fold import linear, of_embodiment


class KeysAndValues(nn.Module):
    """Keys and values of all layers that look at one group of tokens, in one product."""

    def __init__(self, config: Gr00tN1d6Config, blocks: list[Block]) -> None:
        super().__init__()
        self.layers, self.heads = len(blocks), config.dit.num_attention_heads
        if not blocks:
            return
        plain = [b.attn1.to_k for b in blocks] + [b.attn1.to_v for b in blocks]
        bias = None if plain[0].bias is None else torch.cat([layer.bias for layer in plain])
        rows, columns = plain[0].weight.shape
        weight = plain[0].weight.new_empty(len(plain) * rows, columns)
        for index, layer in enumerate(plain):
            weight[index * rows : (index + 1) * rows] = layer.weight
            del layer.weight
        self.project = linear(weight, bias)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """[S, C] to keys and values [layers, heads, S, d]."""
        projected = self.project(features).unflatten(-1, (2, self.layers, self.heads, -1))
        keys, values = projected.permute(1, 2, 3, 0, 4).unbind(0)
        return keys.contiguous(), values.contiguous()


class Context(nn.Module):
    """Feature norm, keys and values of every cross-attention layer, state encoder."""

    def __init__(self, config: Gr00tN1d6Config, plain: ActionHead, embodiment: int) -> None:
        super().__init__()
        blocks = plain.model.transformer_blocks
        self.norm = plain.vlln
        self.groups = nn.ModuleList(
            KeysAndValues(
                config,
                [
                    cast(Block, blocks[layer])
                    for layer in range(0, config.dit.num_layers, 2)
                    if group_of_layer(config, layer) == group
                ],
            )
            for group in token_groups(config)
        )
        self.state1 = of_embodiment(plain.state_encoder.layer1, embodiment)
        self.state2 = of_embodiment(plain.state_encoder.layer2, embodiment)
        self.empty = (config.dit.num_attention_heads, config.dit.attention_head_dim)

    def forward(self, features: Tensor, *indexes_and_state: Tensor) -> tuple[Tensor, ...]:
        """Features, one index [n] a group and the state, to keys and values a group and tokens.

        See `contract.stage_specs` for the shapes.
        """
        *indexes, state = indexes_and_state
        normed = self.norm(features)[0]
        found: list[Tensor] = []
        for group, index in zip(self.groups, indexes, strict=True):
            if cast(KeysAndValues, group).layers:
                found.extend(group(normed.index_select(0, index)))
            else:
                heads, width = self.empty
                nothing = normed.new_empty(0, heads, index.shape[0], width)
                found.extend((nothing, nothing.clone()))
        return (*found, self.state2(F.relu(self.state1(state))))
