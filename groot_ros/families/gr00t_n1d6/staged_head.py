# SPDX-License-Identifier: Apache-2.0
"""Action head segments of the staged model: "context" and "denoise"."""

from typing import cast

import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from groot_ros.families.gr00t_n1d6.action_head import ActionHead
from groot_ros.families.gr00t_n1d6.config import Gr00tN1d6Config
from groot_ros.layers.category_specific import of_category
from groot_ros.layers.dit import Block
from groot_ros.layers.fusion import keep_precision
from groot_ros.layers.staged_head import Denoise, KeysAndValues


def token_groups(config: Gr00tN1d6Config) -> tuple[str, ...]:
    """Return the names of the token groups that cross-attention layers attend to."""
    return ("text", "image") if config.use_alternate_vl_dit else ("all",)


def group_of_layer(config: Gr00tN1d6Config, layer: int) -> str:
    """Return the token group that the cross-attention layer with this (even) index attends to."""
    if not config.use_alternate_vl_dit:
        return "all"
    return "text" if layer % (2 * config.attend_text_every_n_blocks) == 0 else "image"


class Context(nn.Module):
    """Part of the action head whose results are the same for all denoising steps.

    It has the feature norm, the keys and values of every cross-attention layer, and the state
    encoder.
    """

    def __init__(self, config: Gr00tN1d6Config, head: ActionHead, embodiment: int) -> None:
        super().__init__()
        blocks = head.model.transformer_blocks
        self.norm = head.vlln
        self.groups = nn.ModuleList(
            KeysAndValues(
                config.dit.num_attention_heads,
                [
                    cast(Block, blocks[layer])
                    for layer in range(0, config.dit.num_layers, 2)
                    if group_of_layer(config, layer) == group
                ],
            )
            for group in token_groups(config)
        )
        self.state1 = of_category(head.state_encoder.layer1, embodiment)
        self.state2 = of_category(head.state_encoder.layer2, embodiment)
        keep_precision(self.state1, self.state2)
        self.empty = (config.dit.num_attention_heads, config.dit.attention_head_dim)

    def forward(self, features: Tensor, *indexes_and_state: Tensor) -> tuple[Tensor, ...]:
        """Return the keys and values of each token group, then the state tokens.

        See `program_spec` for the shapes.

        Args:
            features: features of the backbone.
            *indexes_and_state: one int64 index [n] per token group, then the state.

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


def make_denoise(config: Gr00tN1d6Config, head: ActionHead, embodiment: int) -> Denoise:
    """Return the denoising step of a head, which cannot run afterwards."""
    names = token_groups(config)
    sources: list[tuple[int, int]] = []
    seen = [0] * len(names)
    for layer in range(0, config.dit.num_layers, 2):
        group = names.index(group_of_layer(config, layer))
        sources.append((group, seen[group]))
        seen[group] += 1
    return Denoise(
        head.model,
        head.action_encoder,
        embodiment,
        head.action_decoder,
        horizon=config.action_horizon,
        columns=config.max_action_dim,
        sources=sources,
        positions=head.positions(),
    )
