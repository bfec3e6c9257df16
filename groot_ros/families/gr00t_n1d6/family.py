# SPDX-License-Identifier: Apache-2.0
"""GR00T N1.6 as a model family; torch is imported only where it is needed."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from groot_ros.checkpoint.locate import find_checkpoint
from groot_ros.families.family import CheckpointSummary
from groot_ros.families.gr00t.family import Gr00tFamily
from groot_ros.families.gr00t_n1d6.checkpoint import FAMILY as NAME
from groot_ros.families.gr00t_n1d6.checkpoint import Gr00tN1d6Checkpoint, open_checkpoint
from groot_ros.families.gr00t_n1d6.config import MODEL_TYPE
from groot_ros.families.gr00t_n1d6.new_checkpoint import (
    CheckpointConfig,
    published_config,
    write_config,
)
from groot_ros.families.training import DataLayout
from groot_ros.processing.tokenizer import write_byte_tokenizer
from groot_ros.vision.augmentation import Augmentation

if TYPE_CHECKING:
    import torch

    from groot_ros.families.gr00t_n1d6.benchmark import BenchmarkCase
    from groot_ros.families.gr00t_n1d6.training import Trainer


class Gr00tN1d6Family(Gr00tFamily):
    """See `families.family.Family`."""

    name = NAME
    recognised_by = f"config.json with 'model_type' {MODEL_TYPE}"
    types: ClassVar = {"model_type": MODEL_TYPE}
    checkpoint = Gr00tN1d6Checkpoint

    def open(
        self,
        path: Path,
        *,
        embodiment: str,
        assets: str | Path | None = None,
        base: str | Path | None = None,
    ) -> Gr00tN1d6Checkpoint:
        """See `families.family.Family.open`; `base` is ignored, as the family does not use it."""
        return open_checkpoint(find_checkpoint(path), embodiment, assets)

    def describe(
        self,
        path: Path,
        *,
        embodiment: str | None = None,
        assets: str | Path | None = None,
        base: str | Path | None = None,
    ) -> CheckpointSummary:
        """See `families.family.Family.describe`."""
        from groot_ros.families.gr00t_n1d6.summary import describe

        return describe(path, embodiment=embodiment, assets=assets)

    def published_config(self, layout: DataLayout) -> CheckpointConfig:
        """Return the configuration of published size, with the byte tokenizer's ids."""
        return published_config(layout)

    def write_config(self, config: CheckpointConfig, out: Path) -> None:
        """See `families.family.Family.write_config`."""
        write_config(config, out)
        write_byte_tokenizer(out)

    def trainer(
        self,
        path: Path,
        *,
        embodiment: str,
        device: "torch.device",
        dtype: "torch.dtype | None" = None,
    ) -> "Trainer":
        """See `families.family.Family.trainer`."""
        import torch

        from groot_ros.families.gr00t_n1d6.training import Trainer, apply_tuning
        from groot_ros.families.gr00t_n1d6.weights import WEIGHTS

        checkpoint = open_checkpoint(path, embodiment)
        model = WEIGHTS.load_for_training(
            path,
            checkpoint.config,
            embodiment=checkpoint.processor.embodiment_id,
            trained=apply_tuning,
            device=device,
            dtype=dtype or torch.float32,
        )
        return Trainer(model, checkpoint.processor, WEIGHTS, path)

    def training_shapes(
        self, path: Path, *, embodiment: str
    ) -> dict[str, tuple[tuple[int, ...], bool]]:
        """See `families.family.Family.training_shapes`."""
        from groot_ros.families.gr00t_n1d6.training import apply_tuning
        from groot_ros.families.gr00t_n1d6.weights import WEIGHTS

        return WEIGHTS.training_shapes(open_checkpoint(path, embodiment).config, apply_tuning)

    def write_adapted(
        self,
        source: Path,
        layout: DataLayout,
        out: Path,
        *,
        changes: Mapping[str, Any],
        augmentation: Augmentation,
        assets: str | Path | None = None,
    ) -> None:
        """See `families.family.Family.write_adapted`."""
        from groot_ros.families.gr00t_n1d6.adaptation import write_adapted

        write_adapted(find_checkpoint(source), layout, out, changes, augmentation, assets)

    def small_checkpoint(self, layout: DataLayout, seed: int, out: Path) -> Path:
        """See `families.family.Family.small_checkpoint`."""
        from groot_ros.families.gr00t_n1d6.small_checkpoint import write_small_checkpoint

        return write_small_checkpoint(layout, seed, out)

    def benchmark_case(self) -> "type[BenchmarkCase]":
        """See `families.gr00t.family.Gr00tFamily.benchmark_case`."""
        from groot_ros.families.gr00t_n1d6.benchmark import BenchmarkCase

        return BenchmarkCase


FAMILY = Gr00tN1d6Family()
