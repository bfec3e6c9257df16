"""Engine "onnxruntime": exported stages, and the host's part from the checkpoint."""

from collections.abc import Callable, Mapping
from pathlib import Path

import torch

from groot_ros.models.gr00t_n1d6 import Gr00tN1d6Config
from groot_ros.runtime.gr00t_n1d6 import StagedModel, StageRunner, Stages
from groot_ros.runtime.gr00t_n1d6.stages import Stage
from groot_ros.runtime.manifest import Manifest
from groot_ros.runtime.onnxruntime_stages import OnnxruntimeStage, onnxruntime_stages
from groot_ros.runtime.staged_engine import StagedEngine


class OnnxruntimeRunner(StageRunner):
    """Stages that were exported run in onnxruntime, the others in PyTorch."""

    def __init__(self, fast: StagedModel, exported: Mapping[str, OnnxruntimeStage]) -> None:
        stages: dict[str, Stage] = {**fast.modules, **exported}
        super().__init__(Stages(**stages))
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
    config: Gr00tN1d6Config,
    device: torch.device,
    rest: Callable[[], StagedModel],
) -> StagedEngine:
    """Engine files through onnxruntime; `rest` reads the host's part and the other stages.

    Raises:
        EngineFilesError: a file is not the one of the manifest, or cannot be run here.

    """
    manifest.require_onnx(directory)
    threads = torch.get_num_threads() if device.type == "cpu" else 0
    exported = onnxruntime_stages(directory, manifest, config, device, threads)
    fast = rest()
    # Few processors have packed products of float16.
    if fast.host.dtype != torch.float16:
        fast.pack()
    return StagedEngine("onnxruntime", fast.host, OnnxruntimeRunner(fast, exported))
