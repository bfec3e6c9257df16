# SPDX-License-Identifier: Apache-2.0
"""Vision segment of the staged model."""

from torch import Tensor, nn

from groot_ros.families.gr00t_n1d6.backbone import Eagle
from groot_ros.families.gr00t_n1d6.config import EagleConfig
from groot_ros.layers import siglip2
from groot_ros.layers.fusion import keep_precision, linear, take_layers
from groot_ros.layers.staged import VisionLayer


class Vision(nn.Module):
    """Vision tower and connector, built from the weights of `eagle`, which cannot run afterwards.

    Patches are ordered cell by cell (a cell is the square of patches that becomes one token), so
    the pixel shuffle is a reshape. The connector's first layers are permuted to match.
    """

    def __init__(self, config: EagleConfig, eagle: Eagle) -> None:
        super().__init__()
        tower = eagle.vision
        self.use_rope = config.vision.use_rope
        self.use_windows = config.vision.use_windows_attn
        self.full = frozenset(config.vision.full_attention_indexes)
        self.cell = config.shuffle**2
        self.embed = tower.embeddings.patch_embedding
        del tower.embeddings.patch_embedding
        layers = take_layers(tower.encoder.layers, siglip2.Layer)
        self.layers = nn.ModuleList(map(VisionLayer, layers))
        self.norm = tower.post_layernorm
        norm, first, self.act, self.second = eagle.mlp1
        assert isinstance(norm, nn.LayerNorm)
        assert isinstance(first, nn.Linear)

        def cell_major(x: Tensor) -> Tensor:
            """Reorder the last dimension from (channel, patch) to (patch, channel)."""
            split = x.unflatten(-1, (-1, self.cell))
            return split.transpose(-1, -2).flatten(-2).contiguous()

        self.cell_norm = nn.LayerNorm(norm.normalized_shape, eps=norm.eps, device="meta")
        self.cell_norm.weight = nn.Parameter(cell_major(norm.weight), requires_grad=False)
        self.cell_norm.bias = nn.Parameter(cell_major(norm.bias), requires_grad=False)
        self.first = linear(cell_major(first.weight), first.bias)
        keep_precision(self.embed, self.second)

    def forward(self, patches: Tensor, positions: Tensor, *grid: Tensor) -> Tensor:
        """Return image tokens [V, N / cell, D].

        Args:
            patches: normalised pixels [V, N, P].
            positions: position embeddings [N, C].
            *grid: further inputs of `layout.PatchGrid.inputs`, if the checkpoint uses them.

        """
        rope = (grid[0], grid[1]) if self.use_rope else None
        same_window = grid[-1] if self.use_windows else None
        x = self.embed(patches) + positions
        for index, layer in enumerate(self.layers):
            x = layer(x, rope, None if index in self.full else same_window)
        x = self.norm(x)
        cells = x.reshape(x.shape[0], -1, self.cell * x.shape[2])
        return self.second(self.act(self.first(self.cell_norm(cells))))
