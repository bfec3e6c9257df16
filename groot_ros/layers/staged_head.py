# SPDX-License-Identifier: Apache-2.0
"""Parts of the staged action head that families share: keys and values, and the denoising step."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray
from torch import Tensor, nn

from groot_ros.core.program import Segment, Tensors, TensorSpec
from groot_ros.layers.category_specific import ActionEncoder, CategoryMLP, of_category
from groot_ros.layers.dit import Block, DiT
from groot_ros.layers.flow_matching import CONDITIONING, euler_step
from groot_ros.layers.fusion import compose, keep_precision, linear, take_layers
from groot_ros.layers.staged import DenoiseBlock
from groot_ros.layers.time_tables import TimeTables

#: Epsilon of the LayerNorm before the output, as in `layers.dit`.
_OUTPUT_EPS = 1e-6


class KeysAndValues(nn.Module):
    """Projection to the keys and values of all layers that attend to one token group."""

    def __init__(self, heads: int, blocks: Sequence[Block]) -> None:
        super().__init__()
        self.layers, self.heads = len(blocks), heads
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


class DenoiseStep(nn.Module):
    """Euler step of flow matching for one embodiment: encoder, transformer, decoder.

    It uses the weights of the transformer and the encoder, except those of the keys and values of
    cross-attention and of the time embeddings; they cannot run afterwards. Subclasses decode.
    """

    def __init__(
        self,
        dit: DiT,
        encoder: ActionEncoder,
        embodiment: int,
        horizon: int,
        columns: int,
        sources: Sequence[tuple[int, int]],
        positions: Tensor | None,
    ) -> None:
        """Take the weights.

        Args:
            dit: diffusion transformer.
            encoder: action encoder.
            embodiment: row of the category-specific weights.
            horizon: steps of a chunk.
            columns: columns of an action; further ones of the encoder are taken as zero.
            sources: index of the keys and values, and of the layer within them, of each
                cross-attention block.
            positions: position embeddings of the action tokens [horizon, C]; None = none.

        """
        super().__init__()
        self.horizon, self.width = horizon, dit.proj_out_2.in_features
        self.sources = list(sources)
        first, second = (of_category(layer, embodiment) for layer in (encoder.W1, encoder.W2))
        first.weight.data = first.weight.data[:, :columns].contiguous()
        # `token_bias` contains the biases and the result of the second layer's time half.
        actions_half = linear(second.weight[:, : encoder.width], torch.zeros_like(second.bias))
        self.encode = linear(compose(first, actions_half).weight.data, None)
        last = of_category(encoder.W3, embodiment)
        bias = last.bias.expand(horizon, -1)
        if positions is not None:
            bias = bias + positions
        self.encode2 = linear(last.weight, None)
        self.positions = nn.Parameter(bias.contiguous(), requires_grad=False)
        self.blocks = nn.ModuleList(
            DenoiseBlock(block, dit.is_cross(index))
            for index, block in enumerate(take_layers(dit.transformer_blocks, Block))
        )
        keep_precision(self.encode, self.encode2)

    def decoded(self, x: Tensor) -> Tensor:
        """Return the velocity [1, H, A] of normalised tokens [1, H, C]; each family has its own."""
        raise NotImplementedError

    def velocity(
        self,
        actions: Tensor,
        tokens: Tensor,
        keys_and_values: Sequence[Tensor],
        token_bias: Tensor,
        modulations: Tensor,
        output_modulation: Tensor,
    ) -> Tensor:
        """Predict the velocity, float32 [1, H, A]; see `denoise_segment` for the inputs."""
        encoded = self.encode(actions.to(tokens.dtype)) + token_bias
        own = self.encode2(F.silu(encoded)) + self.positions
        x = torch.cat([tokens, own], dim=1)
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
        return self.decoded(x).float()

    def forward(self, actions: Tensor, tokens: Tensor, *rest: Tensor) -> Tensor:
        """Return the actions after one step, float32 [1, H, A]; see `denoise_segment`."""
        *keys_and_values, token_bias, modulations, output_modulation = rest[:-6]
        prefix, weight, strength, time, dt, gain = rest[-6:]
        velocity = self.velocity(
            actions, tokens, keys_and_values, token_bias, modulations, output_modulation
        )
        return euler_step(actions, velocity, time, dt, prefix, weight, strength, gain)


class Denoise(DenoiseStep):
    """Denoising step with one decoder for all columns."""

    def __init__(
        self, dit: DiT, encoder: ActionEncoder, embodiment: int, decoder: CategoryMLP, **rest: Any
    ) -> None:
        """Take the weights of a head; the other arguments are those of `DenoiseStep`."""
        super().__init__(dit, encoder, embodiment, **rest)
        self.decode = compose(dit.proj_out_2, of_category(decoder.layer1, embodiment))
        self.decode2 = of_category(decoder.layer2, embodiment)
        keep_precision(self.decode, self.decode2)

    def decoded(self, x: Tensor) -> Tensor:
        """Return the velocity [1, H, A] of normalised tokens [1, H, C]."""
        return self.decode2(F.relu(self.decode(x)))


def denoise_segment(
    *,
    horizon: int,
    columns: int,
    layers: int,
    width: int,
    tokens: TensorSpec,
    keys_and_values: Sequence[TensorSpec],
) -> Segment:
    """Return the segment of `DenoiseStep`.

    Args:
        horizon: steps of a chunk.
        columns: columns of an action.
        layers: layers of the transformer.
        width: width of the tokens.
        tokens: tokens before those of the actions.
        keys_and_values: keys and values of the cross-attention layers.

    """
    chunk = (1, horizon, columns)
    return Segment(
        "denoise",
        "head",
        inputs=(
            TensorSpec("actions", chunk, "float32"),
            tokens,
            *keys_and_values,
            TensorSpec("token_bias", (1, horizon, width)),
            TensorSpec("modulations", (layers, 2, width)),
            TensorSpec("output_modulation", (2, width)),
            TensorSpec("prefix", chunk, "float32"),
            TensorSpec("weight", chunk, "float32"),
            TensorSpec("strength", chunk, "float32"),
            TensorSpec("time", (1,), "float32"),
            TensorSpec("dt", (1,), "float32"),
            TensorSpec("gain", (1,), "float32"),
        ),
        outputs=(TensorSpec("next_actions", chunk, "float32"),),
        per="step",
        repeat="steps",
        constants=tuple(f"table.{name}" for name in TimeTables.__dataclass_fields__),
        observed=("noise", *CONDITIONING),
    )


def denoise_arguments(index: int, t: Tensors, carried: Sequence[str]) -> list[Tensor]:
    """Return the inputs of step `index` of `denoise_segment`.

    Args:
        index: number of the step.
        t: tensors by name.
        carried: names of the tokens, the keys and the values.

    """
    actions = (
        t["next_actions"] if index else torch.where(t["start"].bool(), t["prefix"], t["noise"])
    )
    clean = t["clean"].bool()[..., None]
    return [
        actions,
        *(t[name] for name in carried),
        torch.where(clean, t["table.clean_bias"], t["table.token_bias"][index]),
        t["table.modulations"][index],
        t["table.output_modulation"][index],
        t["prefix"],
        t["weight"],
        t["strength"],
        t["table.times"][index],
        t["table.dt"],
        t["table.gain"],
    ]


def conditioning_tensors(inputs: Mapping[str, NDArray[Any]]) -> dict[str, Tensor]:
    """Return the tensors of `CONDITIONING`; without a prefix the neutral ones."""
    if "prefix" in inputs:
        return {name: torch.from_numpy(inputs[name]) for name in CONDITIONING}
    zeros = torch.zeros(inputs["noise"].shape)
    neutral = dict.fromkeys(CONDITIONING, zeros)
    return neutral | {"strength": torch.ones_like(zeros), "clean": zeros[..., 0].clone()}
