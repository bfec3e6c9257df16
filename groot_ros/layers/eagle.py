# SPDX-License-Identifier: Apache-2.0
"""Eagle backbone of the GR00T families: one sequence of features from images and text tokens.

Module names are those of the checkpoint's keys.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, cast

from torch import Tensor, nn

from groot_ros.layers.qwen3 import Qwen3, TextConfig


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


class EagleSizes(Protocol):
    """Configuration of a VLM, as far as the language tower and its inputs are concerned."""

    @property
    def text(self) -> TextConfig:
        """Return the configuration of the language tower."""

    @property
    def image_token_index(self) -> int:
        """Return the token id that images replace."""

    @property
    def shuffle(self) -> int:
        """Return the side of the square of patches that becomes one token."""


class Eagle(nn.Module):
    """Vision tower, connector and language tower; subclasses encode the images."""

    #: Ignore image tokens beyond the places in the sequence instead of rejecting them.
    drops_surplus_tokens = False

    def __init__(
        self, config: EagleSizes, vision: nn.Module, text: Qwen3, connector: nn.Sequential
    ) -> None:
        super().__init__()
        self.config = config
        # The nesting is that of the checkpoint's keys.
        self.vision_model = nn.ModuleDict({"vision_model": vision})
        self.language_model = nn.ModuleDict({"model": text})
        self.mlp1 = connector

    @property
    def text(self) -> Qwen3:
        """Return the language tower."""
        return cast(Qwen3, self.language_model["model"])

    def image_tokens(self, images: Sequence[Tensor]) -> Tensor:
        """Encode normalised images [n, 3, H, W] as [tokens, C], in the order of the images."""
        raise NotImplementedError

    def embed(self, input_ids: Tensor, images: Sequence[Tensor]) -> Tensor:
        """Return the embeddings [B, S, C], with image tokens in the places of image_token_index.

        Raises:
            ValueError: the images do not give as many tokens as `input_ids` has places; with
                `drops_surplus_tokens` only if they give fewer.

        """
        is_image = input_ids == self.config.image_token_index
        embeddings = self.text.embed_tokens(input_ids)
        if not len(images):
            return embeddings
        tokens, places = self.image_tokens(images), int(is_image.sum())
        if len(tokens) < places or (len(tokens) > places and not self.drops_surplus_tokens):
            raise ValueError(token_mismatch(len(tokens), places, self.config))
        return embeddings.masked_scatter(is_image[..., None], tokens.to(embeddings.dtype))


def token_mismatch(given: int, places: int, config: EagleSizes) -> str:
    """Return the message for images that do not give as many tokens as there are places."""
    return (
        f"the images give {given} tokens but input_ids hold {places} "
        f"of id {config.image_token_index} (image_token_index)"
    )


class EagleBackbone(nn.Module):
    """Eagle backbone; its weights are `backbone.*` of a checkpoint."""

    @property
    def eagle(self) -> Eagle:
        """Return the VLM, whose name in the checkpoint depends on the family."""
        raise NotImplementedError

    def project(self, features: Tensor) -> Tensor:
        """Return the features [B, S, C] after the family's projection, if it has one."""
        return features

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, images: Sequence[Tensor]
    ) -> BackboneOutput:
        """Compute the features of a batch.

        Args:
            input_ids: int64 [B, S].
            attention_mask: [B, S], 1 at tokens, 0 at padding.
            images: normalised, sample by sample; see `Eagle.image_tokens` of the family.

        """
        valid = attention_mask == 1
        features = self.eagle.text(self.eagle.embed(input_ids, images), valid)
        is_image = input_ids == self.eagle.config.image_token_index
        return BackboneOutput(self.project(features), valid, is_image)
