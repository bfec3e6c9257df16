# SPDX-License-Identifier: Apache-2.0
"""Reference network of the GR00T families: backbone and action head, named as in the checkpoint."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor, nn

from groot_ros.families.gr00t.samples import Batch
from groot_ros.layers.action_head import FlowHead, FlowHeadConfig
from groot_ros.layers.eagle import EagleBackbone, EagleSizes
from groot_ros.layers.flow_matching import Conditioning
from groot_ros.layers.patches import normalise_pixels

if TYPE_CHECKING:
    from typing_extensions import Self


class EagleConfig(EagleSizes, Protocol):
    """Configuration of a VLM that can be written to a file."""

    def to_json(self) -> dict[str, Any]:
        """Return the contents of eagle_config.json."""


class Gr00tConfig(Protocol):
    """Configuration of a whole network, as far as the families share it."""

    @property
    def eagle(self) -> EagleConfig:
        """Return the configuration of the VLM."""

    @property
    def head(self) -> FlowHeadConfig:
        """Return the configuration of the action head."""

    def with_embodiments(self, count: int) -> "Self":
        """Return the configuration for this number of embodiments."""

    def to_json(self) -> dict[str, Any]:
        """Return the contents of config.json."""


class Gr00tNetwork(nn.Module):
    """Reference network that maps images, text, state and noise to a normalised action chunk."""

    config: Any
    backbone: EagleBackbone
    action_head: FlowHead

    @classmethod
    def build(
        cls,
        config: Any,
        *,
        device: str = "cpu",
        dtype: torch.dtype = torch.float32,
        seed: int = 0,
    ) -> "Self":
        """Return a randomly initialised model; device "meta" allocates no memory."""
        with torch.random.fork_rng(devices=[]), torch.device(device):
            torch.manual_seed(seed)
            return cls(config).to(dtype)

    @property
    def device(self) -> torch.device:
        """Return the device of the weights."""
        return self.action_head.state_encoder.layer1.W.device

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        images: Sequence[Tensor],
        state: Tensor,
        embodiment: Tensor,
        noise: Tensor,
        steps: int | None = None,
        conditioning: Conditioning | None = None,
    ) -> Tensor:
        """Return normalised action chunks, float32 [B, H, A].

        Args:
            input_ids: int64 [B, S], left padded.
            attention_mask: int64 [B, S], 1 at tokens, 0 at padding.
            images: [n, 3, H, W] each, sample by sample, normalised by `normalise_pixels`; see
                `Eagle.image_tokens` of the family for the sizes.
            state: [B, T_state, max_state_dim], normalised.
            embodiment: int64 [B], row of the category-specific weights.
            noise: float32 [B, H, A].
            steps: number of Euler steps; None = as configured in the checkpoint.
            conditioning: conditioning on committed motion; None = plain sampling.

        """
        backbone = self.backbone(input_ids, attention_mask, images)
        context = self.action_head.context(backbone, state, embodiment)
        return self.action_head.denoise(context, noise, steps, conditioning)


@dataclass(frozen=True)
class TensorBatch:
    """Copy of a `samples.Batch` on a device; images are normalised, [1, 3, h, w] each."""

    input_ids: Tensor
    attention_mask: Tensor
    images: list[Tensor]
    state: Tensor
    embodiment: Tensor
    action: Tensor | None
    action_mask: Tensor | None
    labels: Tensor | None = None

    @classmethod
    def of(cls, batch: Batch, device: torch.device | str = "cpu") -> "TensorBatch":
        """Copy a batch to a device."""

        def move(array: Any) -> Tensor:
            # Not from_numpy, which warns of arrays that are read-only.
            return torch.tensor(array, device=device)

        return cls(
            input_ids=move(batch.input_ids),
            attention_mask=move(batch.attention_mask),
            images=[normalise_pixels(move(image))[None] for image in batch.images],
            state=move(batch.state),
            embodiment=move(batch.embodiment_id),
            action=None if batch.action is None else move(batch.action),
            action_mask=None if batch.action_mask is None else move(batch.action_mask),
            labels=None if batch.labels is None else move(batch.labels),
        )

    def require_actions(self) -> tuple[Tensor, Tensor]:
        """Return the actions and their mask; raise ValueError if the batch has none."""
        if self.action is None or self.action_mask is None:
            raise ValueError("the batch has no actions, which training needs")
        return self.action, self.action_mask


def reference_images(images: Mapping[str, Tensor]) -> list[Tensor]:
    """Return the normalised images [n, 3, H, W] of the inputs of a family's processor.

    They are "tiles" [n, 3, S, S], or "image.<i>" [3, h, w], in the order of the numbers, as inputs
    that come from a file are sorted by name.
    """
    if "tiles" in images:
        return list(normalise_pixels(images["tiles"])[:, None])
    count = sum(name.startswith("image.") for name in images)
    return [normalise_pixels(images[f"image.{i}"])[None] for i in range(count)]
