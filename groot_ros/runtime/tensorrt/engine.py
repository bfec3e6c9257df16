"""Engine "tensorrt": engine files inside two CUDA graphs."""

from collections.abc import Mapping
from pathlib import Path

from groot_ros.runtime.gr00t_n1d6 import FastModel
from groot_ros.runtime.graph_executor import GraphExecutor
from groot_ros.runtime.recorder import CudaRecorder, Recorder
from groot_ros.runtime.staged_engine import StagedEngine
from groot_ros.runtime.tensorrt.executor import TensorRtExecutor


class TensorRtEngine(StagedEngine):
    """Where recording fails the engines are launched one by one, and `reasons` says why."""

    def __init__(
        self, plans: Mapping[str, Path], fast: FastModel, recorder: Recorder | None = None
    ) -> None:
        """See `TensorRtExecutor`; records with CUDA where no recorder is given."""
        # A context belongs to one shape at a time, so one graph of each kind.
        self._graphs = GraphExecutor(
            TensorRtExecutor(plans, fast),
            recorder or CudaRecorder(fast.host.device),
            capacity=1,
            several_sizes=False,
        )
        super().__init__("tensorrt", fast.host, self._graphs)

    @property
    def reasons(self) -> dict[str, str]:
        """What runs without a graph ("backbone", "head") and why."""
        return self._graphs.reasons
