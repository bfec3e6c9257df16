# SPDX-License-Identifier: Apache-2.0
"""Trainer of GR00T N1.5; see `families.training.Trainer`."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from groot_ros.checkpoint.locate import tokenizer_files
from groot_ros.families.gr00t.network import TensorBatch
from groot_ros.families.gr00t.samples import EncodedSample
from groot_ros.families.gr00t.training import Gr00tTrainer
from groot_ros.families.gr00t_n1d5.checkpoint import Gr00tN1d5Checkpoint
from groot_ros.families.gr00t_n1d5.metadata import METADATA
from groot_ros.families.gr00t_n1d5.network import Gr00tN1d5
from groot_ros.families.gr00t_n1d5.training import (
    apply_tuning,
    flow_matching_loss,
    train_mode,
    with_switches,
)
from groot_ros.families.training import Episode


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
        super().__init__(model, checkpoint.processor)
        self._checkpoint = checkpoint

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

    def loss(
        self, batch: TensorBatch, generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        """See `families.training.Trainer.loss`; raises ValueError for a batch without actions."""
        action, mask = batch.require_actions()
        backbone = self.model.backbone(batch.input_ids, batch.attention_mask, batch.images)
        head, rows = self.model.action_head, batch.embodiment
        return flow_matching_loss(
            head, backbone, batch.state, action, mask, rows, generator=generator
        ).losses

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
