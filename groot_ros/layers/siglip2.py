# SPDX-License-Identifier: Apache-2.0
"""Siglip2 vision tower with flexible resolution: every image keeps its own patch grid.

Module names are those of the checkpoint's keys.
"""

from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from groot_ros.core.config_reader import Fields
from groot_ros.layers.attention import attention


class LayerSizes(Protocol):
    """Sizes of one transformer layer, which SigLIP and Siglip2 towers share."""

    @property
    def hidden_size(self) -> int:
        """Return the width of the tokens."""

    @property
    def intermediate_size(self) -> int:
        """Return the width inside the feed-forward network."""

    @property
    def num_attention_heads(self) -> int:
        """Return the number of heads."""

    @property
    def layer_norm_eps(self) -> float:
        """Return the epsilon of the norms."""


@dataclass(frozen=True)
class VisionConfig:
    """Configuration of the Siglip2 tower; the defaults are the reference's for omitted keys."""

    hidden_size: int = 1152
    intermediate_size: int = 4304
    num_hidden_layers: int = 27
    num_attention_heads: int = 16
    num_channels: int = 3
    num_patches: int = 256
    patch_size: int = 14
    layer_norm_eps: float = 1e-6
    window_size: int = 14
    full_attention_indexes: tuple[int, ...] = (7, 14, 21, 26)
    use_rope: bool = True
    use_windows_attn: bool = True

    @classmethod
    def parse(cls, f: Fields) -> "VisionConfig":
        """Read the `vision_config` section of the VLM's config."""
        f.expect("model_type", "siglip2_vision_model", "siglip2_vision_model")
        f.expect("hidden_act", "gelu_pytorch_tanh", "gelu_pytorch_tanh")
        return cls(
            hidden_size=f.integer("hidden_size", 1152, at_least=1),
            intermediate_size=f.integer("intermediate_size", 4304, at_least=1),
            num_hidden_layers=f.integer("num_hidden_layers", 27, at_least=1),
            num_attention_heads=f.integer("num_attention_heads", 16, at_least=1),
            num_channels=f.integer("num_channels", 3, at_least=1),
            num_patches=f.integer("num_patches", 256, at_least=1),
            patch_size=f.integer("patch_size", 14, at_least=1),
            layer_norm_eps=f.number("layer_norm_eps", 1e-6),
            window_size=f.integer("window_size", 14, at_least=1),
            full_attention_indexes=f.items("full_attention_indexes", int, (7, 14, 21, 26)),
            use_rope=f.flag("use_rope", True),
            use_windows_attn=f.flag("use_windows_attn", True),
        )


def to_patches(images: Tensor, patch: int) -> Tensor:
    """Split images [N, C, H, W] into patches [N, H/p * W/p, p*p*C].

    Patches are in row-major order; each is flattened in the order (y, x, channel).
    """
    n, c, h, w = images.shape
    grid = images.reshape(n, c, h // patch, patch, w // patch, patch)
    return grid.permute(0, 2, 4, 3, 5, 1).reshape(n, (h // patch) * (w // patch), -1)


def window_of_patch(h: int, w: int, size: int) -> Tensor:
    """Return the window number of every patch of an [h, w] grid as [h*w], row-major."""
    rows, columns = torch.arange(h) // size, torch.arange(w) // size
    return (rows[:, None] * -(-w // size) + columns[None, :]).flatten()


def rope_2d(h: int, w: int, head_dim: int, base: float) -> tuple[Tensor, Tensor]:
    """Return cos and sin [h*w, head_dim/2]; columns alternate between the patch's x and y."""
    frequency = 1.0 / base ** (torch.arange(0, head_dim, 4).float() / head_dim)
    y, x = torch.meshgrid(torch.arange(h).float(), torch.arange(w).float(), indexing="ij")
    angles = torch.stack(
        [x.flatten()[:, None] * frequency, y.flatten()[:, None] * frequency], dim=-1
    ).flatten(1)
    return angles.cos(), angles.sin()


def rotate_pairs(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate neighbouring channels (2i, 2i+1) of [N, heads, T, D] by the angles of each token."""
    even, odd = x.float().unflatten(-1, (-1, 2)).unbind(-1)
    rotated = torch.stack([even * cos - odd * sin, even * sin + odd * cos], dim=-1)
    return rotated.flatten(-2).type_as(x)


class Grid:
    """Inputs of attention on one patch grid.

    Attributes:
        rope: cos and sin of the rotary angles, each [h*w, head_dim/2]; None = no rotation.
        same_window: bool [h*w, h*w], True for patches of one window; None = no windows.

    """

    def __init__(self, config: VisionConfig, h: int, w: int, device: torch.device) -> None:
        self.rope: tuple[Tensor, Tensor] | None = None
        self.same_window: Tensor | None = None
        if config.use_rope:
            head_dim = config.hidden_size // config.num_attention_heads
            # As in the reference, which passes the window size in the base's position.
            cos, sin = rope_2d(h, w, head_dim, float(config.window_size))
            self.rope = cos.to(device), sin.to(device)
        if config.use_windows_attn:
            window = window_of_patch(h, w, config.window_size).to(device)
            self.same_window = window[:, None] == window[None, :]


class VisionAttention(nn.Module):
    """Multi-head self-attention inside one image."""

    def __init__(self, config: LayerSizes) -> None:
        super().__init__()
        self.heads = config.num_attention_heads
        self.k_proj = nn.Linear(config.hidden_size, config.hidden_size)
        self.v_proj = nn.Linear(config.hidden_size, config.hidden_size)
        self.q_proj = nn.Linear(config.hidden_size, config.hidden_size)
        self.out_proj = nn.Linear(config.hidden_size, config.hidden_size)

    def forward(
        self, x: Tensor, rope: tuple[Tensor, Tensor] | None = None, mask: Tensor | None = None
    ) -> Tensor:
        """Map the patches [N, T, C] of N images to [N, T, C].

        Args:
            x: hidden states [N, T, C].
            rope: cos and sin [T, head_dim/2]; None = no rotation.
            mask: bool [T, T], True where a patch is visible; None = all.

        """
        q, k, v = (
            proj(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for proj in (self.q_proj, self.k_proj, self.v_proj)
        )
        if rope is not None:
            q, k = rotate_pairs(q, *rope), rotate_pairs(k, *rope)
        out = attention(q, k, v, mask)
        return self.out_proj(out.transpose(1, 2).flatten(2))


class MLP(nn.Module):
    """Two linear layers with tanh-approximated GELU."""

    def __init__(self, config: LayerSizes) -> None:
        super().__init__()
        self.fc1 = nn.Linear(config.hidden_size, config.intermediate_size)
        self.fc2 = nn.Linear(config.intermediate_size, config.hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        """Map [..., C] to [..., C]."""
        return self.fc2(F.gelu(self.fc1(x), approximate="tanh"))


class Layer(nn.Module):
    """Pre-norm transformer layer."""

    def __init__(self, config: LayerSizes) -> None:
        super().__init__()
        self.layer_norm1 = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.self_attn = VisionAttention(config)
        self.layer_norm2 = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.mlp = MLP(config)

    def forward(
        self, x: Tensor, rope: tuple[Tensor, Tensor] | None = None, mask: Tensor | None = None
    ) -> Tensor:
        """Map [N, T, C] to [N, T, C]; the arguments are those of `VisionAttention`."""
        x = x + self.self_attn(self.layer_norm1(x), rope, mask)
        return x + self.mlp(self.layer_norm2(x))


class Embeddings(nn.Module):
    """Patch projection plus learned position embeddings, resized to the image's patch grid."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.patch = config.patch_size
        self.side = int(config.num_patches**0.5)
        pixels = config.num_channels * config.patch_size**2
        self.patch_embedding = nn.Linear(pixels, config.hidden_size)
        self.position_embedding = nn.Embedding(config.num_patches, config.hidden_size)
        nn.init.normal_(self.position_embedding.weight, std=config.hidden_size**-0.5)

    def positions(self, h: int, w: int) -> Tensor:
        """Return the position embeddings [h*w, C], resized bilinearly with antialiasing."""
        weight = self.position_embedding.weight
        square = weight.float().T.reshape(1, -1, self.side, self.side)
        resized = F.interpolate(
            square, size=(h, w), mode="bilinear", align_corners=False, antialias=True
        )
        return resized.flatten(2)[0].T.to(weight.dtype)

    def forward(self, images: Tensor) -> Tensor:
        """Embed normalised pixels [N, C, H, W] as [N, h*w, C]."""
        h, w = images.shape[2] // self.patch, images.shape[3] // self.patch
        patches = to_patches(images, self.patch).to(self.patch_embedding.weight.dtype)
        return self.patch_embedding(patches) + self.positions(h, w)


class Encoder(nn.Module):
    """Stack of layers; those not in `full_attention_indexes` attend within windows.

    With `use_windows_attn` off, every layer attends to the whole image.
    """

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.full = frozenset(config.full_attention_indexes)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.num_hidden_layers))

    def forward(self, x: Tensor, grid: Grid, trace: list[Tensor] | None = None) -> Tensor:
        """Map [N, T, C] to [N, T, C]; `trace` collects every layer's input and the last output."""
        for index, layer in enumerate(self.layers):
            if trace is not None:
                trace.append(x)
            x = layer(x, grid.rope, None if index in self.full else grid.same_window)
        if trace is not None:
            trace.append(x)
        return x


class Siglip2(nn.Module):
    """Siglip2 tower from images to patch features, row-major on each image's grid."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.config = config
        self.embeddings = Embeddings(config)
        self.encoder = Encoder(config)
        self.post_layernorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward(self, images: Tensor, trace: list[Tensor] | None = None) -> Tensor:
        """Encode images [N, C, H, W], H and W multiples of the patch size, as [N, h*w, C]."""
        h, w = (side // self.config.patch_size for side in images.shape[2:])
        grid = Grid(self.config, h, w, images.device)
        return self.post_layernorm(self.encoder(self.embeddings(images), grid, trace))
