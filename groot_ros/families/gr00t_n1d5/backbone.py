# SPDX-License-Identifier: Apache-2.0
"""Eagle-2 backbone of GR00T N1.5, on image tiles of one size."""

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from groot_ros.families.gr00t_n1d5.config import BackboneConfig, EagleConfig
from groot_ros.layers import eagle
from groot_ros.layers.qwen3 import Qwen3
from groot_ros.layers.siglip import Siglip


def pixel_shuffle(patches: Tensor, side: int, factor: int) -> Tensor:
    """Join f x f patches into one: [N, side*side, C] to [N, (side/f)**2, f*f*C].

    The channel index of the result is (dy*f + dx)*C + c, the reverse of that in GR00T N1.6.
    """
    n, _, channels = patches.shape
    small = side // factor
    cells = patches.reshape(n, small, factor, small, factor, channels)
    return cells.permute(0, 1, 3, 2, 4, 5).reshape(n, small * small, factor**2 * channels)


class Eagle(eagle.Eagle):
    """See `layers.eagle.Eagle`; tokens of surplus tiles are dropped, as in the reference."""

    config: EagleConfig
    drops_surplus_tokens = True

    def __init__(self, config: EagleConfig, layers: int) -> None:
        wide = config.vision.hidden_size * config.shuffle**2
        width = config.text.hidden_size
        super().__init__(
            config,
            Siglip(config.vision, config.vision_layer),
            Qwen3(config.text, layers),
            nn.Sequential(nn.Linear(wide, width))
            if config.connector_layers == 1
            else nn.Sequential(
                nn.LayerNorm(wide), nn.Linear(wide, width), nn.GELU(), nn.Linear(width, width)
            ),
        )

    @property
    def vision(self) -> Siglip:
        """Return the vision tower."""
        return cast(Siglip, self.vision_model["vision_model"])

    def image_tokens(self, images: Sequence[Tensor]) -> Tensor:
        """Encode normalised tiles [n, 3, S, S], one tensor or a list, as [tokens, C]."""
        tiles = images if isinstance(images, Tensor) else torch.cat(list(images))
        patches = self.vision(tiles)
        if self.config.use_pixel_shuffle:
            patches = pixel_shuffle(patches, self.config.vision.side, self.config.shuffle)
        return self.mlp1(patches).flatten(0, 1)


class EagleBackbone(eagle.EagleBackbone):
    """See `layers.eagle.EagleBackbone`."""

    def __init__(self, config: EagleConfig, backbone: BackboneConfig) -> None:
        super().__init__()
        self.eagle_model = Eagle(config, backbone.select_layer)
        self.eagle_linear = (
            nn.Identity()
            if backbone.project_to_dim is None
            else nn.Linear(config.text.hidden_size, backbone.project_to_dim)
        )

    @property
    def eagle(self) -> Eagle:
        """See `layers.eagle.EagleBackbone.eagle`."""
        return self.eagle_model

    def project(self, features: Tensor) -> Tensor:
        """See `layers.eagle.EagleBackbone.project`."""
        return self.eagle_linear(features)
