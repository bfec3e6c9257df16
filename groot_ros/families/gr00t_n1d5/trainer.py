# SPDX-License-Identifier: Apache-2.0
"""Trainer of GR00T N1.5; see `families.training.Trainer`."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from groot_ros.checkpoint.locate import tokenizer_files
from groot_ros.families.gr00t_n1d5.checkpoint import Gr00tN1d5Checkpoint
from groot_ros.families.gr00t_n1d5.metadata import METADATA
from groot_ros.families.gr00t_n1d5.network import Gr00tN1d5
from groot_ros.families.gr00t_n1d5.processor import EncodedSample, collate
from groot_ros.families.gr00t_n1d5.training import (
    apply_tuning,
    flow_matching_loss,
    train_mode,
    with_switches,
)
from groot_ros.families.gr00t_n1d5.weights import save_model
from groot_ros.families.training import Episode
from groot_ros.layers.patches import normalise_pixels


class Trainer:
    """See `families.training.Trainer`; for checkpoints in NVIDIA's layout."""

    def __init__(self, model: Gr00tN1d5, checkpoint: Gr00tN1d5Checkpoint) -> None:
        """Train a model.

        Raises:
            ValueError: the checkpoint has LeRobot's layout, which is not written.

        """
        if checkpoint.files.lerobot:
            raise ValueError(
                f"{checkpoint.path}: LeRobot's layout is read only; train a checkpoint in NVIDIA's"
            )
        self.model = model
        self._checkpoint, self._processor = checkpoint, checkpoint.processor

    def training_sample(
        self, episode: Episode, index: int, rng: np.random.Generator | None = None
    ) -> EncodedSample:
        """See `families.training.Trainer.training_sample`.

        Steps after the end of the episode are left out of the actions.
        """
        length = min(len(values) for values in (*episode.state.values(), *episode.action.values()))
        now = slice(index, index + 1)
        ahead = slice(index, min(index + self._processor.codec.horizon, length))
        return self._processor.encode_sample(
            {view: episode.images[view][now] for view in self._processor.views},
            {group: values[now] for group, values in episode.state.items()},
            episode.instruction,
            {group: values[ahead] for group, values in episode.action.items()},
            rng,
        )

    def collate(self, samples: Sequence[EncodedSample]) -> dict[str, Tensor]:
        """See `families.training.Trainer.collate`."""
        batch = collate(samples, self._processor.tokenizer.pad_id)
        return {n: torch.from_numpy(array).to(self.model.device) for n, array in batch.items()}

    def loss(
        self, batch: Mapping[str, Tensor], generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        """See `families.training.Trainer.loss`; raises ValueError for a batch without actions."""
        if "action" not in batch:
            raise ValueError("the batch has no actions, which training needs")
        tiles = normalise_pixels(batch["tiles"])
        backbone = self.model.backbone(batch["input_ids"], batch["attention_mask"], tiles)
        return flow_matching_loss(
            self.model.action_head,
            backbone.features,
            batch["state"],
            batch["action"],
            batch["action_mask"],
            batch["embodiment_id"],
            generator=generator,
        ).losses

    def parameter_groups(self, switches: Mapping[str, Any]) -> list[dict[str, Any]]:
        """See `families.training.Trainer.parameter_groups`; raises ValueError for other names."""
        self.model.config = with_switches(self.model.config, switches)
        learning = apply_tuning(self.model)
        train_mode(self.model)
        return [{"params": learning}]

    def save(self, path: Path) -> None:
        """See `families.training.Trainer.save`."""
        save_model(self.model, path)
        for name, file in self._processor.layout.files.items():
            target = path / METADATA.parent / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)
        for file in tokenizer_files(self._checkpoint.tokenizer):
            shutil.copyfile(file, path / file.name)
