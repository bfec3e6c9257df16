# SPDX-License-Identifier: Apache-2.0
"""Outputs of a frozen backbone, computed once for each sample and kept in a file in float16."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from groot_ros.families.training import ChunkTrainer
from groot_ros.training.data import Samples

_BATCH = 16


class FeatureCache:
    """Features of all samples, in the order of their numbers."""

    def __init__(self, folder: Path) -> None:
        """Open the files that `write` made."""
        self._features: NDArray[np.float16] = np.load(folder / "features.npy", mmap_mode="r")
        self._image: NDArray[np.bool_] = np.load(folder / "image_mask.npy")
        self._begin: NDArray[np.int64] = np.load(folder / "begin.npy")

    @classmethod
    @torch.no_grad()
    def write(cls, folder: Path, trainer: ChunkTrainer, samples: Samples) -> None:
        """Compute the features of all samples; an interrupted run computes them again."""
        folder.mkdir(parents=True, exist_ok=True)
        features, image, lengths = [], [], []
        batches = range(0, len(samples), _BATCH)
        for begin in tqdm(batches, desc="computing features", disable=None):
            part = range(begin, min(begin + _BATCH, len(samples)))
            batch = trainer.collate([trainer.training_sample(*samples.at(i)) for i in part])
            encoded = {name: values.cpu() for name, values in trainer.encode(batch).items()}
            for row, valid in enumerate(encoded["attention_mask"]):
                features.append(encoded["features"][row, valid].half().numpy())
                image.append(encoded["image_mask"][row, valid].numpy())
                lengths.append(int(valid.sum()))
        np.save(folder / "image_mask.npy", np.concatenate(image))
        np.save(folder / "begin.npy", np.cumsum([0, *lengths]))
        np.save(folder / "features.npy", np.concatenate(features))

    def encoded(self, indices: Sequence[int], device: torch.device) -> dict[str, Tensor]:
        """Return the outputs of the backbone for samples, padded on the left."""
        spans = [(int(self._begin[i]), int(self._begin[i + 1])) for i in indices]
        length = max(end - begin for begin, end in spans)
        features = np.zeros((len(spans), length, self._features.shape[1]), np.float32)
        masks = np.zeros((2, len(spans), length), bool)
        for row, (begin, end) in enumerate(spans):
            features[row, length - (end - begin) :] = self._features[begin:end]
            masks[0, row, length - (end - begin) :] = True
            masks[1, row, length - (end - begin) :] = self._image[begin:end]
        return {
            "features": torch.from_numpy(features).to(device),
            "attention_mask": torch.from_numpy(masks[0]).to(device),
            "image_mask": torch.from_numpy(masks[1]).to(device),
        }
