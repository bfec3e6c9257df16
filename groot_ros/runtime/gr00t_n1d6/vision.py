"""Stage "vision": the patches of all views of one size to image tokens."""

import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from groot_ros.models.gr00t_n1d6 import siglip2
from groot_ros.models.gr00t_n1d6.config import EagleConfig
from groot_ros.models.gr00t_n1d6.eagle import Eagle
from groot_ros.runtime.gr00t_n1d6.attend import Attend
from groot_ros.runtime.gr00t_n1d6.fold import drain, linear, stack


class VisionLayer(nn.Module):
    """A layer of the tower with query, key and value in one product."""

    def __init__(self, layer: siglip2.Layer) -> None:
        super().__init__()
        plain = layer.self_attn
        self.heads = plain.heads
        self.norm1, self.norm2 = layer.layer_norm1, layer.layer_norm2
        self.qkv = stack([plain.q_proj, plain.k_proj, plain.v_proj])
        self.out = plain.out_proj
        self.fc1, self.fc2 = layer.mlp.fc1, layer.mlp.fc2
        self.attend = Attend()

    def forward(self, x: Tensor, rope: tuple[Tensor, Tensor] | None, mask: Tensor | None) -> Tensor:
        """[V, N, C] to [V, N, C]."""
        q, k, v = self.qkv(self.norm1(x)).unflatten(-1, (3, self.heads, -1)).unbind(2)
        q, k, v = (t.transpose(1, 2) for t in (q, k, v))
        if rope is not None:
            q, k = siglip2.rotate_pairs(q, *rope), siglip2.rotate_pairs(k, *rope)
        x = x + self.out(self.attend(q, k, v, mask))
        return x + self.fc2(F.gelu(self.fc1(self.norm2(x)), approximate="tanh"))


class Vision(nn.Module):
    """Tower and connector; takes the weights of the plain ones over.

    Patches come cell by cell (the square of patches that becomes one token), so the pixel
    shuffle is a reshape; the connector's first layers are permuted to match.
    """

    def __init__(self, config: EagleConfig, plain: Eagle) -> None:
        super().__init__()
        tower = plain.vision
        self.use_rope = config.vision.use_rope
        self.use_windows = config.vision.use_windows_attn
        self.full = frozenset(config.vision.full_attention_indexes)
        self.cell = config.shuffle**2
        self.embed = tower.embeddings.patch_embedding
        del tower.embeddings.patch_embedding
        layers = drain(tower.encoder.layers, siglip2.Layer)
        self.layers = nn.ModuleList(map(VisionLayer, layers))
        self.norm = tower.post_layernorm
        norm, first, self.act, self.second = plain.mlp1
        assert isinstance(norm, nn.LayerNorm)
        assert isinstance(first, nn.Linear)

        def cell_major(x: Tensor) -> Tensor:
            """Last dimension from (channel, patch of the cell) to (patch of the cell, channel)."""
            split = x.unflatten(-1, (-1, self.cell))
            return split.transpose(-1, -2).flatten(-2).contiguous()

        self.cell_norm = nn.LayerNorm(norm.normalized_shape, eps=norm.eps, device="meta")
        self.cell_norm.weight = nn.Parameter(cell_major(norm.weight), requires_grad=False)
        self.cell_norm.bias = nn.Parameter(cell_major(norm.bias), requires_grad=False)
        self.first = linear(cell_major(first.weight), first.bias)

    def forward(self, patches: Tensor, positions: Tensor, *grid: Tensor) -> Tensor:
        """[V, N, P] and [N, C] to [V, N / cell, D]; see `contract.stage_specs` for `grid`."""
        rope = (grid[0], grid[1]) if self.use_rope else None
        same_window = grid[-1] if self.use_windows else None
        x = self.embed(patches) + positions
        for index, layer in enumerate(self.layers):
            x = layer(x, rope, None if index in self.full else same_window)
        x = self.norm(x)
        cells = x.reshape(x.shape[0], -1, self.cell * x.shape[2])
        return self.second(self.act(self.first(self.cell_norm(cells))))
