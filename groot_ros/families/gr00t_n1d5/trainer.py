# SPDX-License-Identifier: Apache-2.0
"""Trainer of GR00T N1.5; see `families.training.Trainer`."""

import math
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from groot_ros.checkpoint.locate import tokenizer_files
from groot_ros.families.gr00t.network import TensorBatch
from groot_ros.families.gr00t.samples import EncodedSample
from groot_ros.families.gr00t.training import Gr00tTrainer, with_labels
from groot_ros.families.gr00t_n1d5.checkpoint import Gr00tN1d5Checkpoint
from groot_ros.families.gr00t_n1d5.metadata import METADATA
from groot_ros.families.gr00t_n1d5.network import Gr00tN1d5
from groot_ros.families.gr00t_n1d5.training import (
    apply_tuning,
    flow_matching_loss,
    train_mode,
    with_switches,
)
from groot_ros.families.gr00t_n1d5.weights import WEIGHTS
from groot_ros.families.training import Episode
from groot_ros.vision.augmentation import Augmentation


class Trainer(Gr00tTrainer):
    """See `families.training.Trainer`; for checkpoints in NVIDIA's layout."""

    model: Gr00tN1d5

    def __init__(self, model: Gr00tN1d5, checkpoint: Gr00tN1d5Checkpoint) -> None:
        """Train a model.

        Raises:
            ValueError: the checkpoint has LeRobot's layout, which is not written.

        """
        if checkpoint.files.lerobot:
            raise ValueError(
                f"{checkpoint.path}: LeRobot's layout is read only; train a checkpoint in NVIDIA's"
            )
        super().__init__(model, checkpoint.processor, WEIGHTS, checkpoint.path)
        self._checkpoint = checkpoint

    def time_of(self, shares: Tensor) -> Tensor:
        """See `Gr00tTrainer.time_of`."""
        scale = self.model.action_head.config.noise_s
        return (scale - shares) / scale

    def image_grids(self, batch: TensorBatch) -> list[tuple[int, int]]:
        """See `families.training.Trainer.image_grids`."""
        count = len(batch.images) // len(batch.state)
        side = math.isqrt(self._processor.tile_tokens)
        return [(side, side)] * count

    def prepare_frame(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """See `families.training.Trainer.prepare_frame`; the crop needs the whole frame."""
        return image

    def training_sample(
        self,
        episode: Episode,
        index: int,
        rng: np.random.Generator | None = None,
        augmentation: Augmentation | None = None,
    ) -> EncodedSample:
        """See `families.training.Trainer.training_sample`.

        Steps after the end of the episode are left out of the actions.
        """
        end = min(len(values) for values in episode.action.values())
        now = slice(index, index + 1)
        ahead = slice(index, min(index + self._processor.codec.horizon, end))
        encoded = self._processor.encode_sample(
            {view: episode.images[view][now] for view in self._processor.views},
            {group: values[now] for group, values in episode.state.items()},
            episode.instruction,
            {group: values[ahead] for group, values in episode.action.items()},
            rng,
            augmentation,
        )
        return with_labels(encoded, self._processor.views, episode, index)

    def loss(
        self,
        batch: TensorBatch,
        generator: torch.Generator | None = None,
        *,
        draws: Mapping[str, Tensor] | None = None,
        encoded: Mapping[str, Tensor] | None = None,
    ) -> dict[str, Tensor]:
        """See `families.training.Trainer.loss`; raises ValueError for a batch without actions."""
        action, mask = batch.require_actions()
        given: dict[str, Any] = dict(draws or {})
        output = flow_matching_loss(
            self.model.action_head,
            self.backbone_output(batch, encoded),
            batch.state,
            action,
            mask,
            batch.embodiment,
            **given,
            generator=generator,
        )
        return output.losses

    def apply_switches(self, switches: Mapping[str, Any]) -> list[nn.Parameter]:
        """See `Gr00tTrainer.apply_switches`; raises ValueError for other names."""
        self.model.config = with_switches(self.model.config, switches)
        learning = apply_tuning(self.model)
        train_mode(self.model)
        return learning

    def copy_files(self, path: Path) -> None:
        """See `Gr00tTrainer.copy_files`."""
        for name, file in self._processor.layout.files.items():
            target = path / METADATA.parent / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)
        for file in tokenizer_files(self._checkpoint.tokenizer):
            shutil.copyfile(file, path / file.name)
