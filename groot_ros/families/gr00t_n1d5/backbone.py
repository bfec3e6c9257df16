# SPDX-License-Identifier: Apache-2.0
"""Eagle-2 backbone: computes one sequence of features from image tiles and text tokens."""

from dataclasses import dataclass
from typing import cast

from torch import Tensor, nn

from groot_ros.families.gr00t_n1d5.config import BackboneConfig, EagleConfig
from groot_ros.layers.qwen3 import Qwen3
from groot_ros.layers.siglip import Siglip


@dataclass(frozen=True)
class BackboneOutput:
    """Backbone outputs.

    Attributes:
        features: [B, S, C].
        attention_mask: bool [B, S], False at padding; the action head does not use it.

    """

    features: Tensor
    attention_mask: Tensor


def pixel_shuffle(patches: Tensor, side: int, factor: int) -> Tensor:
    """Join f x f patches into one: [N, side*side, C] to [N, (side/f)**2, f*f*C].

    The channel index of the result is (dy*f + dx)*C + c, the reverse of that in GR00T N1.6.
    """
    n, _, channels = patches.shape
    small = side // factor
    cells = patches.reshape(n, small, factor, small, factor, channels)
    return cells.permute(0, 1, 3, 2, 4, 5).reshape(n, small * small, factor**2 * channels)


class Eagle(nn.Module):
    """Vision tower, connector and language tower, named as in the checkpoint."""

    def __init__(self, config: EagleConfig, layers: int) -> None:
        super().__init__()
        self.config = config
        wide = config.vision.hidden_size * config.shuffle**2
        width = config.text.hidden_size
        # The nesting is that of the checkpoint's keys.
        self.vision_model = nn.ModuleDict(
            {"vision_model": Siglip(config.vision, config.vision_layer)}
        )
        self.language_model = nn.ModuleDict({"model": Qwen3(config.text, layers)})
        self.mlp1 = (
            nn.Sequential(nn.Linear(wide, width))
            if config.connector_layers == 1
            else nn.Sequential(
                nn.LayerNorm(wide), nn.Linear(wide, width), nn.GELU(), nn.Linear(width, width)
            )
        )

    @property
    def vision(self) -> Siglip:
        """Return the vision tower."""
        return cast(Siglip, self.vision_model["vision_model"])

    @property
    def text(self) -> Qwen3:
        """Return the language tower."""
        return cast(Qwen3, self.language_model["model"])

    def image_tokens(self, tiles: Tensor) -> Tensor:
        """Encode normalised tiles [n, 3, S, S] as [n, tokens per tile, C]."""
        patches = self.vision(tiles)
        if self.config.use_pixel_shuffle:
            patches = pixel_shuffle(patches, self.config.vision.side, self.config.shuffle)
        return self.mlp1(patches)

    def embed(self, input_ids: Tensor, tiles: Tensor) -> Tensor:
        """Return the embeddings [B, S, C], with image tokens in the places of image_token_index.

        Tokens of surplus tiles are dropped, as in the reference.

        Raises:
            ValueError: the tiles give fewer tokens than `input_ids` has places.

        """
        is_image = input_ids == self.config.image_token_index
        embeddings = self.text.embed_tokens(input_ids)
        if not len(tiles):
            return embeddings
        tokens = self.image_tokens(tiles).flatten(0, 1)
        if len(tokens) < int(is_image.sum()):
            raise ValueError(
                f"the images give {len(tokens)} tokens but input_ids hold {int(is_image.sum())} "
                f"of id {self.config.image_token_index} (image_token_index)"
            )
        return embeddings.masked_scatter(is_image[..., None], tokens.to(embeddings.dtype))


class EagleBackbone(nn.Module):
    """Eagle backbone; its weights are `backbone.*` of a checkpoint."""

    def __init__(self, eagle: EagleConfig, config: BackboneConfig) -> None:
        super().__init__()
        self.eagle_model = Eagle(eagle, config.select_layer)
        self.eagle_linear = (
            nn.Identity()
            if config.project_to_dim is None
            else nn.Linear(eagle.text.hidden_size, config.project_to_dim)
        )

    def forward(self, input_ids: Tensor, attention_mask: Tensor, tiles: Tensor) -> BackboneOutput:
        """Compute the features of a batch.

        Args:
            input_ids: int64 [B, S].
            attention_mask: [B, S], 1 at tokens, 0 at padding.
            tiles: normalised pixels of all samples, [n, 3, S, S].

        """
        valid = attention_mask == 1
        embeddings = self.eagle_model.embed(input_ids, tiles)
        features = self.eagle_model.text(embeddings, valid)
        return BackboneOutput(self.eagle_linear(features), valid)
