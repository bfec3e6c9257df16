# SPDX-License-Identifier: Apache-2.0
"""Eagle backbone: computes one sequence of features from images and text tokens."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from groot_ros.families.gr00t_n1d6.config import EagleConfig
from groot_ros.layers.qwen3 import Qwen3
from groot_ros.layers.siglip2 import Siglip2


@dataclass(frozen=True)
class BackboneOutput:
    """Backbone outputs that the action head takes.

    Attributes:
        features: [B, S, C].
        attention_mask: bool [B, S], False at padding.
        image_mask: bool [B, S], True at image tokens.

    """

    features: Tensor
    attention_mask: Tensor
    image_mask: Tensor


def pixel_shuffle(patches: Tensor, h: int, w: int, factor: int) -> Tensor:
    """Join f x f patches into one: [N, h*w, C] to [N, (h/f)*(w/f), C*f*f].

    The channel index of the result is c*f*f + dy*f + dx.
    """
    grid = patches.transpose(1, 2).unflatten(-1, (h, w))
    return F.pixel_unshuffle(grid, factor).flatten(2).transpose(1, 2)


class Eagle(nn.Module):
    """Vision tower, connector and language tower, named as in the checkpoint."""

    def __init__(self, config: EagleConfig, layers: int) -> None:
        super().__init__()
        self.config = config
        wide = config.vision.hidden_size * config.shuffle**2
        # The nesting is that of the checkpoint's keys.
        self.vision_model = nn.ModuleDict({"vision_model": Siglip2(config.vision)})
        self.language_model = nn.ModuleDict({"model": Qwen3(config.text, layers)})
        self.mlp1 = nn.Sequential(
            nn.LayerNorm(wide),
            nn.Linear(wide, config.text.hidden_size),
            nn.GELU(),
            nn.Linear(config.text.hidden_size, config.text.hidden_size),
        )

    @property
    def vision(self) -> Siglip2:
        """Return the vision tower."""
        return cast(Siglip2, self.vision_model["vision_model"])

    @property
    def text(self) -> Qwen3:
        """Return the language tower."""
        return cast(Qwen3, self.language_model["model"])

    def image_tokens(self, images: Sequence[Tensor]) -> Tensor:
        """Encode images [n, 3, H, W] of any sizes as [tokens, C], in the order of the images.

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

    def embed(self, input_ids: Tensor, images: Sequence[Tensor]) -> Tensor:
        """Return the embeddings [B, S, C], with image tokens in the places of image_token_index.

        Raises:
            ValueError: the images do not give as many tokens as `input_ids` has places.

        """
        is_image = input_ids == self.config.image_token_index
        embeddings = self.text.embed_tokens(input_ids)
        if not images:
            return embeddings
        tokens = self.image_tokens(images)
        if len(tokens) != int(is_image.sum()):
            raise ValueError(
                f"the images give {len(tokens)} tokens but input_ids hold {int(is_image.sum())} "
                f"of id {self.config.image_token_index} (image_token_index)"
            )
        return embeddings.masked_scatter(is_image[..., None], tokens.to(embeddings.dtype))


class EagleBackbone(nn.Module):
    """Eagle backbone; its weights are `backbone.*` of a checkpoint."""

    def __init__(self, config: EagleConfig, select_layer: int) -> None:
        super().__init__()
        self.model = Eagle(config, min(select_layer, config.text.num_hidden_layers))

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, images: Sequence[Tensor]
    ) -> BackboneOutput:
        """Compute the features of a batch.

        Args:
            input_ids: int64 [B, S].
            attention_mask: [B, S], 1 at tokens, 0 at padding.
            images: normalised, [n, 3, H, W] each, sample by sample.

        """
        valid = attention_mask == 1
        features = self.model.text(self.model.embed(input_ids, images), valid)
        return BackboneOutput(features, valid, input_ids == self.model.config.image_token_index)
