# SPDX-License-Identifier: Apache-2.0
"""Action head segments of the staged model: "context" and "denoise"."""

from collections.abc import Sequence
from typing import cast

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from groot_ros.families.gr00t_n1d6.action_head import ActionHead
from groot_ros.families.gr00t_n1d6.config import Gr00tN1d6Config
from groot_ros.layers.category_specific import of_category
from groot_ros.layers.dit import Block
from groot_ros.layers.flow_matching import euler_step
from groot_ros.layers.fusion import compose, keep_precision, linear, take_layers
from groot_ros.layers.staged import DenoiseBlock

#: Epsilon of the LayerNorm before the output, as in `layers.dit`.
_OUTPUT_EPS = 1e-6


def token_groups(config: Gr00tN1d6Config) -> tuple[str, ...]:
    """Return the names of the token groups that cross-attention layers attend to."""
    return ("text", "image") if config.use_alternate_vl_dit else ("all",)


def group_of_layer(config: Gr00tN1d6Config, layer: int) -> str:
    """Return the token group that the cross-attention layer with this (even) index attends to."""
    if not config.use_alternate_vl_dit:
        return "all"
    return "text" if layer % (2 * config.attend_text_every_n_blocks) == 0 else "image"


class KeysAndValues(nn.Module):
    """Projection to the keys and values of all layers that attend to one token group."""

    def __init__(self, config: Gr00tN1d6Config, blocks: list[Block]) -> None:
        super().__init__()
        self.layers, self.heads = len(blocks), config.dit.num_attention_heads
        if not blocks:
            return
        layers = [b.attn1.to_k for b in blocks] + [b.attn1.to_v for b in blocks]
        bias = None if layers[0].bias is None else torch.cat([layer.bias for layer in layers])
        rows, columns = layers[0].weight.shape
        weight = layers[0].weight.new_empty(len(layers) * rows, columns)
        for index, layer in enumerate(layers):
            weight[index * rows : (index + 1) * rows] = layer.weight
            del layer.weight
        self.project = linear(weight, bias)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Compute keys and values [layers, heads, S, d] from features [S, C]."""
        projected = self.project(features).unflatten(-1, (2, self.layers, self.heads, -1))
        keys, values = projected.permute(1, 2, 3, 0, 4).unbind(0)
        return keys.contiguous(), values.contiguous()


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
                config,
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


class Denoise(nn.Module):
    """Euler step of flow matching for one embodiment: encoder, transformer, decoder.

    It uses the weights of `head`, except those of `Context` and of the time embeddings; `head`
    cannot run afterwards.
    """

    def __init__(self, config: Gr00tN1d6Config, head: ActionHead, embodiment: int) -> None:
        super().__init__()
        dit = head.model
        self.horizon, self.width = config.action_horizon, config.dit.inner_dim
        names = token_groups(config)
        self.sources: list[tuple[int, int]] = []
        seen = [0] * len(names)
        for layer in range(0, config.dit.num_layers, 2):
            group = names.index(group_of_layer(config, layer))
            self.sources.append((group, seen[group]))
            seen[group] += 1

        encoder = head.action_encoder
        first, second = (of_category(layer, embodiment) for layer in (encoder.W1, encoder.W2))
        # `token_bias` contains the biases and the result of the second layer's time half.
        actions_half = linear(second.weight[:, : encoder.width], torch.zeros_like(second.bias))
        self.encode = linear(compose(first, actions_half).weight.data, None)
        last = of_category(encoder.W3, embodiment)
        positions = last.bias.expand(self.horizon, -1)
        if config.add_pos_embed:
            positions = positions + head.position_embedding.weight[: self.horizon]
        self.encode2 = linear(last.weight, None)
        self.positions = nn.Parameter(positions.contiguous(), requires_grad=False)

        self.blocks = nn.ModuleList(
            DenoiseBlock(block, dit.is_cross(index))
            for index, block in enumerate(take_layers(dit.transformer_blocks, Block))
        )
        decoder = head.action_decoder
        self.decode = compose(dit.proj_out_2, of_category(decoder.layer1, embodiment))
        self.decode2 = of_category(decoder.layer2, embodiment)
        keep_precision(self.encode, self.encode2, self.decode, self.decode2)

    def velocity(
        self,
        actions: Tensor,
        state_tokens: Tensor,
        keys_and_values: Sequence[Tensor],
        token_bias: Tensor,
        modulations: Tensor,
        output_modulation: Tensor,
    ) -> Tensor:
        """Predict the velocity, float32 [1, H, A]; see `program_spec` for the inputs."""
        encoded = self.encode(actions.to(state_tokens.dtype)) + token_bias
        tokens = self.encode2(F.silu(encoded)) + self.positions
        x = torch.cat([state_tokens, tokens], dim=1)
        layers = modulations.unbind(0)
        nothing: tuple[Tensor, ...] = ()
        for index, block in enumerate(self.blocks):
            source = nothing
            if index % 2 == 0:
                group, row = self.sources[index // 2]
                source = tuple(t[row][None] for t in keys_and_values[2 * group : 2 * group + 2])
            x = block(x, layers[index], source)
        scale, shift = output_modulation.unbind(0)
        x = F.layer_norm(x[:, -self.horizon :], (self.width,), scale, shift, _OUTPUT_EPS)
        return self.decode2(F.relu(self.decode(x))).float()

    def forward(self, actions: Tensor, state_tokens: Tensor, *rest: Tensor) -> Tensor:
        """Return the actions after one step, float32 [1, H, A]; see `program_spec` for `rest`."""
        *keys_and_values, token_bias, modulations, output_modulation = rest[:-6]
        prefix, weight, strength, time, dt, gain = rest[-6:]
        velocity = self.velocity(
            actions, state_tokens, keys_and_values, token_bias, modulations, output_modulation
        )
        return euler_step(actions, velocity, time, dt, prefix, weight, strength, gain)
