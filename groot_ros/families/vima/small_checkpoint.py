# SPDX-License-Identifier: Apache-2.0
"""A VIMA of less than four million parameters, with random weights that train well on a CPU."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import nn

from groot_ros.families.vima.actions import PartDecoder, PartEncoder
from groot_ros.families.vima.checkpoint import random_network, save_network
from groot_ros.families.vima.config import MlpConfig, ObjectConfig, PromptConfig, VimaConfig
from groot_ros.families.vima.controller import (
    CrossAttentionLayer,
    Projection,
    SelfAttentionLayer,
)
from groot_ros.families.vima.network import Vima
from groot_ros.families.vima.prompt import word_tokenizer

#: Width of the controller and of the prompt encoder, and of the vision transformer.
_WIDTH, _VISION_WIDTH = 128, 64
#: Factor of the first weights of perceptrons that read coordinates.
_BOX_GAIN = 4.0
#: Factor of the weights that add to the tokens of the controller.
_RESIDUAL_GAIN = 0.2


def small_config(
    words: int, views: Sequence[str], bins: Mapping[str, tuple[int, ...]]
) -> VimaConfig:
    """Return a small network.

    Args:
        words: rows of the word table.
        views: cameras.
        bins: part of an action -> bins of each coordinate.

    """
    return VimaConfig(
        embed_dim=_WIDTH,
        xf_n_layers=4,
        sattn_n_heads=4,
        xattn_n_heads=4,
        n_positions=256,
        xattn_n_positions=128,
        xattn_ff_expanding=2,
        objects=ObjectConfig(
            vit_output_dim=_VISION_WIDTH,
            vit_patch_size=8,
            vit_width=_VISION_WIDTH,
            vit_layers=2,
            vit_heads=4,
            bbox_mlp_hidden_dim=128,
        ),
        prompt=PromptConfig(
            d_model=_WIDTH, d_kv=_WIDTH // 4, d_ff=2 * _WIDTH, num_layers=2, num_heads=4
        ),
        word_vocab=words,
        action_embed=MlpConfig(64, 1),
        action_embed_output=_WIDTH // 4,
        action_decoder=MlpConfig(_WIDTH, 1),
        prompt_obj_post=MlpConfig(_WIDTH, 1),
        views=tuple(sorted(views)),
        bins=dict(bins),
    )


def write_small_checkpoint(
    words: Sequence[str],
    views: Sequence[str],
    bins: Mapping[str, tuple[int, ...]],
    seed: int,
    out: Path,
) -> Path:
    """Write a new checkpoint with a word table of some words; see `small_config`."""
    tokenizer = word_tokenizer(words)
    network = random_network(small_config(tokenizer.rows, views, bins), seed)
    initialise(network, seed)
    save_network(network, out, tokenizer)
    return out


@torch.no_grad()
def initialise(network: Vima, seed: int) -> None:
    """Initialise linear layers with unit gain and zero bias, and position embeddings small.

    The default values of torch halve the signal in every layer of a perceptron, so that the boxes
    would hardly be seen next to the crops. Position embeddings of unit size would hide the tokens.
    The layers of the controller begin near the identity and the scores of the bins at zero: with
    larger weights the norms after each layer wipe out where the things are, before the decoder has
    a use for it, and a network then stays at the mean of all actions. T5 keeps its own initial
    values.
    """
    generator = torch.Generator().manual_seed(seed)
    for name, module in network.named_modules():
        if name.startswith("t5_prompt_encoder.") or not isinstance(module, nn.Linear | Projection):
            continue
        nn.init.xavier_uniform_(module.weight, generator=generator)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    for module in network.modules():
        if isinstance(module, nn.Sequential):
            # The layers of a perceptron with ReLU after them.
            for layer in _linear_layers(module)[:-1]:
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu", generator=generator)
    for module in network.modules():
        if isinstance(module, PartDecoder):
            for scores in module.mlps:
                nn.init.zeros_(_linear_layers(scores)[-1].weight)
        elif isinstance(module, SelfAttentionLayer):
            module.attn.c_proj.weight.mul_(_RESIDUAL_GAIN)
            module.mlp.c_proj.weight.mul_(_RESIDUAL_GAIN)
        elif isinstance(module, CrossAttentionLayer):
            module.attention_out.weight.mul_(_RESIDUAL_GAIN)
            module.linear2.weight.mul_(_RESIDUAL_GAIN)
    encoders = [part for part in network.modules() if isinstance(part, PartEncoder)]
    readers = [layers for part in encoders for layers in part.children()]
    for reader in (*network.obj_encoder.bbox_mlp.values(), *readers):
        _spread(_linear_layers(reader)[0], generator)
    controller = network.xattn_gpt
    for table in (controller.positions_embed, controller.xattn_positions_embed):
        nn.init.normal_(table.weight, std=0.1, generator=generator)


def _linear_layers(module: nn.Module) -> list[nn.Linear]:
    return [layer for layer in module.children() if isinstance(layer, nn.Linear)]


def _spread(layer: nn.Linear, generator: torch.Generator) -> None:
    """Let the ReLU after a layer bend at points all over the unit cube, which its inputs fill.

    Bins are a hundredth of the table, which smooth functions of a box do not tell apart.
    """
    layer.weight.mul_(_BOX_GAIN)
    points = torch.rand(layer.weight.shape, generator=generator)
    layer.bias.copy_(-(layer.weight * points).sum(1))
