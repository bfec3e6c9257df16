# SPDX-License-Identifier: Apache-2.0
"""GR00T N1.5 as a model family; torch is imported only where it is needed."""

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from groot_ros.checkpoint.locate import find_checkpoint
from groot_ros.families.family import CheckpointSummary
from groot_ros.families.gr00t.family import Gr00tFamily
from groot_ros.families.gr00t_n1d5.checkpoint import FAMILY as NAME
from groot_ros.families.gr00t_n1d5.checkpoint import Gr00tN1d5Checkpoint, open_checkpoint
from groot_ros.families.gr00t_n1d5.config import LEROBOT_TYPE, MODEL_TYPE
from groot_ros.families.gr00t_n1d5.new_checkpoint import (
    CheckpointConfig,
    published_config,
    write_config,
)
from groot_ros.families.training import DataLayout, SmallTrainer

if TYPE_CHECKING:
    import torch

    from groot_ros.families.gr00t_n1d5.benchmark import BenchmarkCase
    from groot_ros.families.gr00t_n1d5.trainer import Trainer


class Gr00tN1d5Family(Gr00tFamily):
    """See `families.family.Family`."""

    name = NAME
    recognised_by = f"config.json with 'model_type' {MODEL_TYPE} or 'type' {LEROBOT_TYPE}"
    types: ClassVar = {"model_type": MODEL_TYPE, "type": LEROBOT_TYPE}
    checkpoint = Gr00tN1d5Checkpoint

    def open(
        self,
        path: Path,
        *,
        embodiment: str,
        assets: str | Path | None = None,
        base: str | Path | None = None,
    ) -> Gr00tN1d5Checkpoint:
        """See `families.family.Family.open`; LeRobot's layout needs `base`."""
        return open_checkpoint(find_checkpoint(path), embodiment, assets, base)

    def describe(
        self,
        path: Path,
        *,
        embodiment: str | None = None,
        assets: str | Path | None = None,
        base: str | Path | None = None,
    ) -> CheckpointSummary:
        """See `families.family.Family.describe`."""
        from groot_ros.families.gr00t_n1d5.summary import describe

        return describe(path, embodiment=embodiment, assets=assets, base=base)

    def published_config(self, layout: DataLayout) -> CheckpointConfig:
        """Return the configuration of published size, with the byte tokenizer's ids."""
        return published_config(layout)

    def write_config(self, config: CheckpointConfig, out: Path) -> None:
        """See `families.family.Family.write_config`."""
        write_config(config, out)

    def trainer(self, path: Path, *, embodiment: str, device: "torch.device") -> "Trainer":
        """See `families.family.Family.trainer`."""
        from groot_ros.families.gr00t_n1d5.trainer import Trainer
        from groot_ros.families.gr00t_n1d5.weights import load_model

        checkpoint = open_checkpoint(path, embodiment)
        return Trainer(load_model(path, checkpoint.config, device=device), checkpoint)

    def small_trainer(self, layout: DataLayout, seed: int) -> SmallTrainer:
        """Raise ValueError, as the demo checkpoint is of GR00T N1.6."""
        raise ValueError("GR00T N1.5 has no small trainer: train the demo checkpoint as gr00t_n1d6")

    def benchmark_case(self) -> "type[BenchmarkCase]":
        """See `families.gr00t.family.Gr00tFamily.benchmark_case`."""
        from groot_ros.families.gr00t_n1d5.benchmark import BenchmarkCase

        return BenchmarkCase


FAMILY = Gr00tN1d5Family()
