# SPDX-License-Identifier: Apache-2.0
"""Training half of VIMA's entry in the registry; torch is imported only where it is needed."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    from groot_ros.families.vima.episodes import VimaData
    from groot_ros.families.vima.training import Trainer


class VimaTraining:
    """Methods of `families.family.Family` for training."""

    #: No layers: a small network is trained as a whole.
    lora_targets = r"(?!)"

    def read_data(self, paths: Sequence[Path]) -> "VimaData":
        """See `families.family.Family.read_data`."""
        from groot_ros.families.vima.episodes import read_data

        return read_data(paths)

    def trainer(
        self,
        path: Path,
        *,
        embodiment: str,
        device: "torch.device",
        dtype: "torch.dtype | None" = None,
    ) -> "Trainer":
        """Open a checkpoint for training, in float32; a VIMA has no embodiments."""
        from groot_ros.families.vima.policy import load
        from groot_ros.families.vima.training import Trainer

        policy = load(path, device=device)
        assert policy.tokenizer is not None, "VimaData.write_checkpoint writes one"
        return Trainer(policy.network, policy.tokenizer)

    def training_shapes(
        self, path: Path, *, embodiment: str
    ) -> dict[str, tuple[tuple[int, ...], bool]]:
        """See `families.family.Family.training_shapes`."""
        from groot_ros.checkpoint.safetensors_file import index_checkpoint

        return {name: (entry.shape, True) for name, entry in index_checkpoint(path).items()}
