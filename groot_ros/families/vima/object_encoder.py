# SPDX-License-Identifier: Apache-2.0
"""Object encoder of VIMA: one token per object and view, from its crop and its box."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from groot_ros.families.vima.config import MlpConfig, ObjectConfig
from groot_ros.families.vima.perceptron import perceptron
from groot_ros.layers.attention import attention
from groot_ros.vision.objects import BOX_UNITS, Objects

#: Mean and standard deviation of the training images, on a scale of 0 to 1.
IMAGE_MEAN = (0.3471, 0.3429, 0.3383)
IMAGE_STD = (0.3011, 0.2961, 0.2956)
_QUICK_GELU = 1.702


@dataclass(frozen=True)
class ObjectTensors:
    """Objects of pictures, by view; leading dimensions [...] are equal.

    Attributes:
        crops: bytes [..., N, 3, side, side], or the same values in another type.
        boxes: centre x, centre y, height and width in reference pixels [..., N, 4].
        mask: bool [..., N], True for an object, False for padding.

    """

    crops: Mapping[str, Tensor]
    boxes: Mapping[str, Tensor]
    mask: Mapping[str, Tensor]

    @classmethod
    def of(cls, objects: Objects, device: torch.device | str = "cpu") -> "ObjectTensors":
        """Convert arrays of the same names."""

        def convert(arrays: Mapping) -> dict[str, Tensor]:
            return {view: torch.from_numpy(array).to(device) for view, array in arrays.items()}

        return cls(convert(objects.crops), convert(objects.boxes), convert(objects.mask))

    def visible(self) -> Tensor:
        """Return the mask of all views in the order of the tokens, [..., Q]."""
        return torch.cat([self.mask[view] for view in sorted(self.mask)], dim=-1)


class SelfAttention(nn.Module):
    """Multi-head self-attention with query, key and value in one product."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = nn.Linear(width, width)
        nn.init.xavier_uniform_(self.in_proj_weight)

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, T, C] to [N, T, C]."""
        packed = F.linear(x, self.in_proj_weight, self.in_proj_bias)
        q, k, v = packed.unflatten(-1, (3, self.heads, -1)).transpose(1, 3).unbind(2)
        return self.out_proj(attention(q, k, v).transpose(1, 2).flatten(2))


class FeedForward(nn.Module):
    """Two linear layers with x * sigmoid(1.702 x) between them."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.c_fc = nn.Linear(width, 4 * width)
        self.c_proj = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Map [..., C] to [..., C]."""
        hidden = self.c_fc(x)
        return self.c_proj(hidden * torch.sigmoid(_QUICK_GELU * hidden))


class Block(nn.Module):
    """Pre-norm transformer layer."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attn = SelfAttention(width, heads)
        self.ln_1 = nn.LayerNorm(width)
        self.mlp = FeedForward(width)
        self.ln_2 = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, T, C] to [N, T, C]."""
        x = x + self.attn(self.ln_1(x))
        return x + self.mlp(self.ln_2(x))


class VisionTransformer(nn.Module):
    """Vision transformer whose first token is the description of the image."""

    def __init__(self, config: ObjectConfig) -> None:
        super().__init__()
        width, patch = config.vit_width, config.vit_patch_size
        patches = (config.vit_resolution // patch) ** 2
        scale = width**-0.5
        self.conv1 = nn.Conv2d(3, width, kernel_size=patch, stride=patch, bias=False)
        self.cls_token = nn.Parameter(scale * torch.randn(width))
        self.pos_embed = nn.Parameter(scale * torch.randn(patches + 1, width))
        self.ln_pre = nn.LayerNorm(width)
        self.blocks = nn.Sequential(
            *(Block(width, config.vit_heads) for _ in range(config.vit_layers))
        )
        self.ln_post = nn.LayerNorm(width)
        self.projection = nn.Parameter(scale * torch.randn(width, config.vit_output_dim))

    def forward(self, images: Tensor) -> Tensor:
        """Map normalised images [N, 3, side, side] to features [N, vit_output_dim]."""
        patches = self.conv1(images).flatten(2).transpose(1, 2)
        first = self.cls_token.expand(len(images), 1, -1)
        x = torch.cat([first, patches], dim=1) + self.pos_embed
        x = self.blocks(self.ln_pre(x))
        return self.ln_post(x[:, 0]) @ self.projection


class CropEncoder(nn.Module):
    """Vision transformer on crops of bytes."""

    def __init__(self, config: ObjectConfig) -> None:
        super().__init__()
        self.vit = VisionTransformer(config)

    def forward(self, crops: Tensor) -> Tensor:
        """Map values 0 to 255 [..., 3, side, side] to features [..., vit_output_dim]."""
        weight = self.vit.projection
        mean, std = (weight.new_tensor(v)[:, None, None] for v in (IMAGE_MEAN, IMAGE_STD))
        pixels = (crops.to(weight.dtype) / 255.0 - mean) / std
        return self.vit(pixels.flatten(0, -4)).unflatten(0, crops.shape[:-3])


class ObjectEncoder(nn.Module):
    """Crop and box of every object to one token each; views in the order of their names."""

    def __init__(self, config: ObjectConfig, views: tuple[str, ...], width: int) -> None:
        super().__init__()
        self.views = tuple(sorted(views))
        hidden = MlpConfig(config.bbox_mlp_hidden_dim, config.bbox_mlp_hidden_depth)
        self.cropped_img_encoder = CropEncoder(config)
        self.bbox_mlp = nn.ModuleDict(
            {view: perceptron(4, hidden, hidden.hidden_dim) for view in self.views}
        )
        features = config.vit_output_dim + hidden.hidden_dim
        self.pre_transformer_layer = nn.ModuleDict(
            {view: nn.Linear(features, width) for view in self.views}
        )

    def forward(self, objects: ObjectTensors) -> Tensor:
        """Return tokens [..., Q, width], Q being the slots of all views together."""
        return self.tokens(self.crop_features(objects), objects)

    def crop_features(self, objects: ObjectTensors) -> dict[str, Tensor]:
        """Return the features of all crops, view -> [..., N, vit_output_dim]."""
        return {view: self.cropped_img_encoder(objects.crops[view]) for view in self.views}

    def tokens(self, crops: Mapping[str, Tensor], objects: ObjectTensors) -> Tensor:
        """Combine the features of the crops with the boxes; see `forward`."""
        tokens = []
        for view in self.views:
            boxes = objects.boxes[view].to(crops[view].dtype) / crops[view].new_tensor(BOX_UNITS)
            features = torch.cat([crops[view], self.bbox_mlp[view](boxes)], dim=-1)
            tokens.append(self.pre_transformer_layer[view](features))
        return torch.cat(tokens, dim=-2)
