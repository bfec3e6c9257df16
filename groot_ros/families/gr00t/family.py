# SPDX-License-Identifier: Apache-2.0
"""Common part of the GR00T families; torch is imported only where it is needed."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from groot_ros.core.config_reader import CheckpointError, Fields
from groot_ros.families.gr00t.checkpoint import Gr00tCheckpoint
from groot_ros.families.training import DataLayout

if TYPE_CHECKING:
    import torch

    from groot_ros.families.gr00t.benchmark import Gr00tBenchmarkCase


class Gr00tFamily:
    """See `families.family.Family`.

    Attributes:
        name: name in the registry.
        recognised_by: description of `types`.
        types: keys of config.json and their values, of which a checkpoint of the family has one.
        checkpoint: class of its checkpoints.

    """

    name: str
    recognised_by: str
    types: ClassVar[Mapping[str, str]]
    checkpoint: ClassVar[type[Gr00tCheckpoint]]
    #: Attention and feed-forward layers of the diffusion transformer.
    lora_targets = (
        r"action_head\.model\.transformer_blocks\.\d+\."
        r"(attn1\.(to_q|to_k|to_v|to_out\.0)|ff\.net\.(0\.proj|2))"
    )

    def matches(self, path: Path) -> bool:
        """See `families.family.Family.matches`."""
        config = path / "config.json"
        if not config.is_file():
            return False
        try:
            f = Fields.read(config)
        except CheckpointError:
            return False
        return any(f.get(key, "") == value for key, value in self.types.items())

    def read_data(self, paths: Sequence[Path]) -> None:
        """See `families.family.Family.read_data`; GR00T trains on LeRobot data sets."""

    def published_config(self, layout: DataLayout) -> Any:
        """Return the configuration of published size, with the byte tokenizer's ids."""
        raise NotImplementedError

    def write_config(self, config: Any, out: Path) -> None:
        """See `families.family.Family.write_config`."""
        raise NotImplementedError

    def benchmark_case(self) -> "type[Gr00tBenchmarkCase]":
        """Return the class of the benchmark; it is imported here, as it needs torch."""
        raise NotImplementedError

    def random_checkpoint(
        self,
        config: Any,
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
        weights = self.checkpoint.staged_model().weights
        self.write_config(config, out)
        weights.write_random(config.network, seed, out, dtype, max_shard_bytes)
        return out

    def benchmark(
        self, stage: str, horizon: int, device: "torch.device", dtype: "torch.dtype"
    ) -> "Gr00tBenchmarkCase":
        """See `families.family.Family.benchmark`."""
        case = self.benchmark_case()
        return case(stage, case.published_config(horizon), device, dtype)

    def resident_bytes(self, horizon: int, dtype: "torch.dtype") -> int:
        """See `families.family.Family.resident_bytes`."""
        return self.benchmark_case().resident_bytes(horizon, dtype)
