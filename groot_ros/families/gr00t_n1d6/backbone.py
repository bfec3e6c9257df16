# SPDX-License-Identifier: Apache-2.0
"""Eagle backbone of GR00T N1.6, on images of any sizes."""

from collections.abc import Sequence
from typing import cast

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from groot_ros.families.gr00t_n1d6.config import EagleConfig
from groot_ros.layers import eagle
from groot_ros.layers.qwen3 import Qwen3
from groot_ros.layers.siglip2 import Siglip2


def pixel_shuffle(patches: Tensor, h: int, w: int, factor: int) -> Tensor:
    """Join f x f patches into one: [N, h*w, C] to [N, (h/f)*(w/f), C*f*f].

    The channel index of the result is c*f*f + dy*f + dx.
    """
    grid = patches.transpose(1, 2).unflatten(-1, (h, w))
    return F.pixel_unshuffle(grid, factor).flatten(2).transpose(1, 2)


class Eagle(eagle.Eagle):
    """See `layers.eagle.Eagle`."""

    config: EagleConfig

    def __init__(self, config: EagleConfig, layers: int) -> None:
        wide, width = config.vision.hidden_size * config.shuffle**2, config.text.hidden_size
        super().__init__(
            config,
            Siglip2(config.vision),
            Qwen3(config.text, layers),
            nn.Sequential(
                nn.LayerNorm(wide), nn.Linear(wide, width), nn.GELU(), nn.Linear(width, width)
            ),
        )

    @property
    def vision(self) -> Siglip2:
        """Return the vision tower."""
        return cast(Siglip2, self.vision_model["vision_model"])

    def image_tokens(self, images: Sequence[Tensor]) -> Tensor:
        """Encode normalised images [n, 3, H, W] of any sizes as [tokens, C], in their order.

        Images of one size run as one batch. Attention is limited to one image.
        """
        by_size: dict[tuple[int, ...], list[int]] = {}
        singles = [image for group in images for image in group]
        for index, image in enumerate(singles):
            by_size.setdefault(tuple(image.shape), []).append(index)
        tokens: list[Tensor] = [torch.empty(0)] * len(singles)
        for (_, height, width), indexes in by_size.items():
            h, w = (side // self.config.vision.patch_size for side in (height, width))
            patches = self.vision(torch.stack([singles[i] for i in indexes]))
            projected = self.mlp1(pixel_shuffle(patches, h, w, self.config.shuffle))
            for index, rows in zip(indexes, projected, strict=True):
                tokens[index] = rows
        return torch.cat(tokens)


class EagleBackbone(eagle.EagleBackbone):
    """See `layers.eagle.EagleBackbone`."""

    def __init__(self, config: EagleConfig, select_layer: int) -> None:
        super().__init__()
        self.model = Eagle(config, min(select_layer, config.text.num_hidden_layers))

    @property
    def eagle(self) -> Eagle:
        """See `layers.eagle.EagleBackbone.eagle`."""
        return self.model
