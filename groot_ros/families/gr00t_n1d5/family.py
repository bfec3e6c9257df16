# SPDX-License-Identifier: Apache-2.0
"""GR00T N1.5 as a model family; torch is imported only where it is needed."""

from pathlib import Path
from typing import TYPE_CHECKING

from groot_ros.checkpoint.locate import find_checkpoint
from groot_ros.core.config_reader import CheckpointError, Fields
from groot_ros.families.family import CheckpointSummary
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


class Gr00tN1d5Family:
    """See `families.family.Family`."""

    name = NAME
    recognised_by = f"config.json with 'model_type' {MODEL_TYPE} or 'type' {LEROBOT_TYPE}"

    def matches(self, path: Path) -> bool:
        """See `families.family.Family.matches`."""
        config = path / "config.json"
        if not config.is_file():
            return False
        try:
            f = Fields.read(config)
        except CheckpointError:
            return False
        return f.get("model_type", "") == MODEL_TYPE or f.get("type", "") == LEROBOT_TYPE

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

    def random_checkpoint(
        self,
        config: CheckpointConfig,
        seed: int,
        out: Path,
        *,
        dtype: "torch.dtype | None" = None,
        max_shard_bytes: int | None = None,
    ) -> Path:
        """Write a checkpoint with random weights; only one shard is in memory at a time.

        Args:
            config: sizes and data of the checkpoint, for example from `published_config`.
            seed: seed of the weights.
            out: directory to create.
            dtype: element type of the weights; None = float32.
            max_shard_bytes: largest size of a shard in bytes; None = one file.

        """
        from groot_ros.families.gr00t_n1d5.weights import write_random_weights

        write_config(config, out)
        write_random_weights(config.network, seed, out, dtype, max_shard_bytes)
        return out

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

    def benchmark(
        self, stage: str, horizon: int, device: "torch.device", dtype: "torch.dtype"
    ) -> "BenchmarkCase":
        """See `families.family.Family.benchmark`."""
        from groot_ros.families.gr00t_n1d5.benchmark import BenchmarkCase, published_config

        return BenchmarkCase(stage, published_config(horizon), device, dtype)

    def resident_bytes(self, horizon: int, dtype: "torch.dtype") -> int:
        """See `families.family.Family.resident_bytes`."""
        from groot_ros.families.gr00t_n1d5.benchmark import resident_bytes

        return resident_bytes(horizon, dtype)


FAMILY = Gr00tN1d5Family()
