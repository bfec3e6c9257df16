# SPDX-License-Identifier: Apache-2.0
"""Segments of the staged model of GR00T N1.5; "language" is `layers.staged.Language`.

Each is built from a part of the reference model and reuses its weights. The reference model cannot
run afterwards.
"""

from typing import Any, cast

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from groot_ros.families.gr00t_n1d5.action_head import ActionHead
from groot_ros.families.gr00t_n1d5.backbone import Eagle
from groot_ros.families.gr00t_n1d5.config import EagleConfig, HeadConfig
from groot_ros.families.gr00t_n1d5.decoders import ARM_HEADS, SharedBottomArmDecoder
from groot_ros.layers import siglip2
from groot_ros.layers.attention import Attention
from groot_ros.layers.category_specific import CategoryMLP, of_category
from groot_ros.layers.dit import Block, DiT
from groot_ros.layers.fusion import compose, keep_precision, linear, stack, take_layers
from groot_ros.layers.patches import cell_order
from groot_ros.layers.self_attention import SelfAttentionBlock, SelfAttentionTransformer
from groot_ros.layers.staged import SelfAttentionLayer, VisionLayer
from groot_ros.layers.staged_head import Denoise, DenoiseStep, KeysAndValues


class Vision(nn.Module):
    """Vision tower and connector, built from the weights of `eagle`.

    Patches are ordered cell by cell (a cell is the square of patches that becomes one token), so
    the pixel shuffle is a reshape. The patch convolution is a matrix product.
    """

    def __init__(self, config: EagleConfig, eagle: Eagle) -> None:
        super().__init__()
        tower, side = eagle.vision, config.vision.side
        self.cell = config.shuffle**2
        convolution = tower.embeddings.patch_embedding
        weight = convolution.weight.permute(0, 2, 3, 1).flatten(1).contiguous()
        self.embed = linear(weight, convolution.bias)
        positions = tower.embeddings.position_embedding.weight
        ordered = cell_order(positions, side, side, config.shuffle).contiguous()
        self.positions = nn.Parameter(ordered, requires_grad=False)
        del tower.embeddings
        used = nn.ModuleList(list(tower.encoder.layers)[: tower.used_layers])
        tower.encoder.layers = nn.ModuleList()
        self.layers = nn.ModuleList(map(VisionLayer, take_layers(used, siglip2.Layer)))
        self.norm = tower.post_layernorm if tower.normed else None
        self.connect = eagle.mlp1
        keep_precision(self.embed, self.connect[-1])

    def forward(self, patches: Tensor) -> Tensor:
        """Return image tokens [V, N / cell, D] of normalised pixels [V, N, P]."""
        x = self.embed(patches) + self.positions
        for layer in self.layers:
            x = layer(x, None, None)
        if self.norm is not None:
            x = self.norm(x)
        return self.connect(x.reshape(x.shape[0], -1, self.cell * x.shape[2]))


class Context(nn.Module):
    """Part of the action head whose results are the same for all denoising steps.

    It has the feature norm and self-attention, the keys and values of every cross-attention layer,
    the state encoder and the future tokens.
    """

    def __init__(self, config: HeadConfig, head: ActionHead, embodiment: int) -> None:
        super().__init__()
        self.norm = head.vlln
        attention = head.vl_self_attention
        blocks = (
            take_layers(attention.transformer_blocks, SelfAttentionBlock)
            if isinstance(attention, SelfAttentionTransformer)
            else ()
        )
        self.layers = nn.ModuleList(map(SelfAttentionLayer, blocks))
        cross = head.model.transformer_blocks
        self.keys_and_values = KeysAndValues(
            config.dit.num_attention_heads,
            [cast(Block, cross[layer]) for layer in range(0, config.dit.num_layers, 2)],
        )
        self.state1 = of_category(head.state_encoder.layer1, embodiment)
        self.state2 = of_category(head.state_encoder.layer2, embodiment)
        self.future = nn.Parameter(head.future_tokens.weight.data[None], requires_grad=False)
        keep_precision(self.state1, self.state2)

    def forward(self, features: Tensor, state: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return keys and values [layers, heads, S, d], and the tokens before the actions.

        Args:
            features: features of the backbone, [1, S, C].
            state: normalised state [1, T_state, max_state_dim].

        """
        x = self.norm(features)
        for layer in self.layers:
            x = layer(x)
        keys, values = self.keys_and_values(x[0])
        tokens = self.state2(F.relu(self.state1(state)))
        return keys, values, torch.cat([tokens, self.future], dim=1)


class ArmAttention(nn.Module):
    """Attention from one arm to the other, from the packed weights of `nn.MultiheadAttention`."""

    def __init__(self, attention: nn.MultiheadAttention) -> None:
        super().__init__()
        weights, biases = attention.in_proj_weight.chunk(3), attention.in_proj_bias.chunk(3)
        self.query = linear(weights[0].contiguous(), biases[0].contiguous())
        self.key_value = linear(torch.cat(weights[1:]), torch.cat(biases[1:]))
        self.out = linear(attention.out_proj.weight, attention.out_proj.bias)
        self.attend = Attention()
        keep_precision(self.query, self.key_value, self.out)

    def forward(self, x: Tensor, other: Tensor) -> Tensor:
        """Attend from x [1, H, C] to other [1, H, C]."""

        def heads(t: Tensor) -> Tensor:
            return t.unflatten(-1, (ARM_HEADS, -1)).transpose(1, 2)

        keys, values = self.key_value(other).chunk(2, dim=-1)
        return self.out(self.attend(heads(self.query(x)), heads(keys), heads(values)))


class BimanualDenoise(DenoiseStep):
    """Denoising step with decoders for the arms and the claws.

    The first layers of all decoders, and the transformer's output projection, are one product.
    """

    def __init__(self, dit: DiT, head: ActionHead, embodiment: int, **rest: Any) -> None:
        """Take the weights of a head; the other arguments are those of `DenoiseStep`."""
        super().__init__(dit, head.action_encoder, embodiment, **rest)
        firsts, outputs = [], []
        self.shared = False
        self.cross = False
        for decoder in head.decoders.values():
            if isinstance(decoder, SharedBottomArmDecoder):
                self.shared, self.cross = True, decoder.cross
                firsts.append(decoder.shared_layer)
                outputs += [decoder.left_output_layer, decoder.right_output_layer]
                if decoder.cross:
                    self.left_norm, self.right_norm = (
                        decoder.layer_norm_left,
                        decoder.layer_norm_right,
                    )
                    self.left_attention = ArmAttention(decoder.cross_attn_left)
                    self.right_attention = ArmAttention(decoder.cross_attn_right)
            else:
                assert isinstance(decoder, CategoryMLP)
                firsts.append(decoder.layer1)
                outputs.append(decoder.layer2)
        self.count = len(firsts)
        self.decode = compose(
            dit.proj_out_2, stack([of_category(layer, embodiment) for layer in firsts])
        )
        self.outputs = nn.ModuleList(of_category(layer, embodiment) for layer in outputs)
        keep_precision(self.decode, *self.outputs)

    def decoded(self, x: Tensor) -> Tensor:
        """Return the velocity [1, H, A] of normalised tokens [1, H, C]."""
        hidden = list(F.relu(self.decode(x)).chunk(self.count, dim=-1))
        if self.shared:
            left = right = hidden.pop(0)
            if self.cross:
                left, right = self.left_norm(left), self.right_norm(right)
                left, right = (
                    left + self.left_attention(left, right),
                    right + self.right_attention(right, left),
                )
            hidden = [left, right, *hidden]
        parts = [output(part) for output, part in zip(self.outputs, hidden, strict=True)]
        return torch.cat(parts, dim=-1)


def make_denoise(config: HeadConfig, head: ActionHead, embodiment: int) -> DenoiseStep:
    """Return the denoising step of a head, which cannot run afterwards."""
    options = {
        "horizon": config.action_horizon,
        "columns": config.action_dim,
        "sources": [(0, layer) for layer in range((config.dit.num_layers + 1) // 2)],
        "positions": head.positions(),
    }
    if config.bimanual is not None:
        return BimanualDenoise(head.model, head, embodiment, **options)
    decoder = cast(CategoryMLP, head.decoders["action_decoder"])
    return Denoise(head.model, head.action_encoder, embodiment, decoder, **options)
