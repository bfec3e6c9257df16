"""Engine "onnxruntime": exported stages, and the host's part from the checkpoint."""

from collections.abc import Callable, Collection, Mapping
from pathlib import Path

import torch

from groot_ros.models.gr00t_n1d6 import Gr00tN1d6Config
from groot_ros.runtime.gr00t_n1d6 import STAGES, FastModel, StageExecutor, Stages, load_fast
from groot_ros.runtime.manifest import Manifest
from groot_ros.runtime.onnxruntime_stages import DTYPES, OnnxruntimeStage, onnxruntime_stages
from groot_ros.runtime.staged_engine import StagedEngine


class OnnxruntimeExecutor(StageExecutor):
    """Stages that were exported run in onnxruntime, the others in PyTorch."""

    def __init__(self, fast: FastModel, exported: Mapping[str, OnnxruntimeStage]) -> None:
        super().__init__(Stages(**{**fast.modules, **exported}))
        self._nbytes = fast.nbytes + sum(stage.nbytes for stage in exported.values())

    @property
    def memory_bytes(self) -> int:
        """Weights in PyTorch, tables, and the size of the files that onnxruntime holds."""
        return self._nbytes

    def close(self) -> None:
        """Drop sessions and weights."""
        del self.stages
        self._nbytes = 0


def load_onnxruntime(
    directory: Path,
    manifest: Manifest,
    checkpoint: Path,
    config: Gr00tN1d6Config,
    *,
    embodiment: int,
    device: torch.device,
    step_counts: Collection[int] = (),
    progress: Callable[[float], None] | None = None,
) -> StagedEngine:
    """Engine files through onnxruntime; the arguments beside them as in `build_engine`.

    Raises:
        EngineFilesError: a file is not the one of the manifest, or cannot be run here.

    """
    manifest.require_onnx(directory)
    threads = torch.get_num_threads() if device.type == "cpu" else 0
    exported = onnxruntime_stages(directory, manifest, config, device, threads)
    fast = load_fast(
        checkpoint,
        config,
        embodiment=embodiment,
        device=device,
        dtype=DTYPES[manifest.precision],
        stages=[name for name in STAGES if name not in exported],
        step_counts=step_counts,
        progress=progress,
    )
    return StagedEngine("onnxruntime", fast.host, OnnxruntimeExecutor(fast.pack(), exported))
