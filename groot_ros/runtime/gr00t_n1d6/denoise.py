"""Stage "denoise": one Euler step of flow matching."""

from collections.abc import Sequence
from typing import cast

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from groot_ros.models.gr00t_n1d6 import ActionHead, Gr00tN1d6Config
from groot_ros.models.gr00t_n1d6.dit import GELU, Block
from groot_ros.runtime.contract import group_of_layer, token_groups
from groot_ros.runtime.gr00t_n1d6.attend import Attend
from groot_ros.runtime.gr00t_n1d6.fold import compose, drain, linear, of_embodiment, stack

#: LayerNorm of AdaLayerNorm and of the output, as in the plain model.
_ADAPTIVE_EPS, _OUTPUT_EPS = 1e-5, 1e-6


class DenoiseBlock(nn.Module):
    """One block; its modulation is an input, and of a cross one keys and values too."""

    def __init__(self, block: Block, cross: bool) -> None:
        super().__init__()
        plain = block.attn1
        self.heads, self.cross = plain.heads, cross
        self.query = plain.to_q if cross else stack([plain.to_q, plain.to_k, plain.to_v])
        self.out = plain.to_out[0]
        self.norm_eps = block.norm3.eps
        self.up, self.down = cast(GELU, block.ff.net[0]).proj, block.ff.net[2]
        self.attend = Attend()

    def forward(self, x: Tensor, modulation: Tensor, keys_and_values: Sequence[Tensor]) -> Tensor:
        """[1, T, C], (1 + scale, shift) [2, C] and twice [1, heads, S, d] to [1, T, C]."""
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


class Denoise(nn.Module):
    """Action encoder, transformer, decoder and the Euler step, for one embodiment.

    Takes the weights of the plain head over, those of `Context` and of the time tower excepted.
    """

    def __init__(self, config: Gr00tN1d6Config, plain: ActionHead, embodiment: int) -> None:
        super().__init__()
        dit = plain.model
        self.horizon, self.width = config.action_horizon, config.dit.inner_dim
        names = token_groups(config)
        self.sources: list[tuple[int, int]] = []
        seen = [0] * len(names)
        for layer in range(0, config.dit.num_layers, 2):
            group = names.index(group_of_layer(config, layer))
            self.sources.append((group, seen[group]))
            seen[group] += 1

        encoder = plain.action_encoder
        first, second = (of_embodiment(layer, embodiment) for layer in (encoder.W1, encoder.W2))
        # The biases and the half of the second layer that takes the time are in `token_bias`.
        actions_half = linear(second.weight[:, : encoder.width], torch.zeros_like(second.bias))
        self.encode = linear(compose(first, actions_half).weight.data, None)
        last = of_embodiment(encoder.W3, embodiment)
        positions = last.bias.expand(self.horizon, -1)
        if config.add_pos_embed:
            positions = positions + plain.position_embedding.weight[: self.horizon]
        self.encode2 = linear(last.weight, None)
        self.positions = nn.Parameter(positions.contiguous(), requires_grad=False)

        self.blocks = nn.ModuleList(
            DenoiseBlock(block, dit.is_cross(index))
            for index, block in enumerate(drain(dit.transformer_blocks, Block))
        )
        decoder = plain.action_decoder
        self.decode = compose(dit.proj_out_2, of_embodiment(decoder.layer1, embodiment))
        self.decode2 = of_embodiment(decoder.layer2, embodiment)

    def velocity(
        self,
        actions: Tensor,
        state_tokens: Tensor,
        keys_and_values: Sequence[Tensor],
        token_bias: Tensor,
        modulations: Tensor,
        output_modulation: Tensor,
    ) -> Tensor:
        """Float32 [1, H, A]."""
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
        """The actions after one step, float32 [1, H, A]; `contract.stage_specs` lists `rest`.

        x += dt * strength * (v + gain * weight * (prefix - x1)), x1 = x + (1 - t) v.
        """
        *keys_and_values, token_bias, modulations, output_modulation = rest[:-6]
        prefix, weight, strength, time, dt, gain = rest[-6:]
        velocity = self.velocity(
            actions, state_tokens, keys_and_values, token_bias, modulations, output_modulation
        )
        end = actions + (1.0 - time) * velocity
        pull = gain * weight * (prefix - end)
        return actions + dt * strength * (velocity + pull)
