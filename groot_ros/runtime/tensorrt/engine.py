"""Engine "tensorrt": engine files inside two CUDA graphs."""

from collections.abc import Mapping
from pathlib import Path

from groot_ros.runtime.gr00t_n1d6 import FastModel
from groot_ros.runtime.graph_recorder import CudaGraphRecorder, GraphRecorder
from groot_ros.runtime.graph_runner import GraphRunner
from groot_ros.runtime.staged_engine import StagedEngine
from groot_ros.runtime.tensorrt.runner import TensorRtRunner


class TensorRtEngine(StagedEngine):
    """Where recording fails the engines are launched one by one, and `reasons` says why."""

    def __init__(
        self, plans: Mapping[str, Path], fast: FastModel, recorder: GraphRecorder | None = None
    ) -> None:
        """See `TensorRtRunner`; records with CUDA where no recorder is given."""
        # A context belongs to one shape at a time, so one graph of each kind.
        self._graphs = GraphRunner(
            TensorRtRunner(plans, fast),
            recorder or CudaGraphRecorder(fast.host.device),
            capacity=1,
            several_sizes=False,
        )
        super().__init__("tensorrt", fast.host, self._graphs)

    @property
    def reasons(self) -> dict[str, str]:
        """What runs without a graph ("backbone", "head") and why."""
        return self._graphs.reasons
