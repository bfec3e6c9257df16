# SPDX-License-Identifier: Apache-2.0
"""Encoded samples of the GR00T families, and batches of them; without torch."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class EncodedSample:
    """Model inputs of one sample, before padding to a batch.

    Attributes:
        input_ids: token ids.
        images: uint8 [3, h, w] each, frame by frame, views in order.
        state: float32 [T, max_state_dim].
        embodiment_id: row of the category-specific weights.
        action, action_mask: float32 [steps, columns], None at inference.

    """

    input_ids: list[int]
    images: list[NDArray[np.uint8]]
    state: NDArray[np.float32]
    embodiment_id: int
    action: NDArray[np.float32] | None = None
    action_mask: NDArray[np.float32] | None = None


@dataclass(frozen=True)
class Batch:
    """Batch of padded samples as numpy arrays.

    Attributes:
        input_ids, attention_mask: int64 [B, S], left padded.
        images: uint8 [3, h, w] each, sample by sample.
        state: float32 [B, T, max_state_dim].
        embodiment_id: int64 [B].
        action, action_mask: float32 [B, steps, columns], None at inference.

    """

    input_ids: NDArray[np.int64]
    attention_mask: NDArray[np.int64]
    images: list[NDArray[np.uint8]]
    state: NDArray[np.float32]
    embodiment_id: NDArray[np.int64]
    action: NDArray[np.float32] | None = None
    action_mask: NDArray[np.float32] | None = None

    def inputs(self, row: int = 0) -> dict[str, NDArray[Any]]:
        """Return one sample as model inputs: batch dimensions are 1, images are "image.<i>"."""
        each = len(self.images) // len(self.input_ids)
        images = self.images[row * each : (row + 1) * each]
        return {**self.arrays(row), **{f"image.{i}": image for i, image in enumerate(images)}}

    def arrays(self, row: int = 0) -> dict[str, NDArray[Any]]:
        """Return the model inputs of one sample besides its images; batch dimensions are 1."""
        one = slice(row, row + 1)
        return {
            "input_ids": self.input_ids[one],
            "attention_mask": self.attention_mask[one],
            "state": self.state[one],
            "embodiment_id": self.embodiment_id[one],
        }


def collate(samples: Sequence[EncodedSample], pad_id: int) -> Batch:
    """Stack samples into a batch, with token ids padded on the left.

    Raises:
        ValueError: some samples have actions and others have none.

    """
    length = max(len(sample.input_ids) for sample in samples)
    ids = np.full((len(samples), length), pad_id, dtype=np.int64)
    mask = np.zeros((len(samples), length), dtype=np.int64)
    for row, sample in enumerate(samples):
        ids[row, length - len(sample.input_ids) :] = sample.input_ids
        mask[row, length - len(sample.input_ids) :] = 1
    actions = [sample.action for sample in samples if sample.action is not None]
    masks = [sample.action_mask for sample in samples if sample.action_mask is not None]
    if len(actions) not in (0, len(samples)):
        raise ValueError("all samples of a batch must have actions, or none")
    return Batch(
        input_ids=ids,
        attention_mask=mask,
        images=[image for sample in samples for image in sample.images],
        state=np.stack([sample.state for sample in samples]),
        embodiment_id=np.array([sample.embodiment_id for sample in samples], dtype=np.int64),
        action=np.stack(actions) if actions else None,
        action_mask=np.stack(masks) if masks else None,
    )
