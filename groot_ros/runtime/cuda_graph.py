"""Engine "cuda_graph": the exact fast form, launched as two graphs."""

from groot_ros.runtime.gr00t_n1d6 import FastModel, TorchRunner
from groot_ros.runtime.graph_recorder import CudaGraphRecorder, GraphRecorder
from groot_ros.runtime.graph_runner import GraphRunner
from groot_ros.runtime.staged_engine import StagedEngine


class CudaGraphEngine(StagedEngine):
    """Where recording fails it is engine "torch", and `reasons` says why."""

    def __init__(self, fast: FastModel, recorder: GraphRecorder | None = None) -> None:
        """Records with CUDA where no recorder is given; raises ValueError on another device."""
        self._graphs = GraphRunner(
            TorchRunner(fast), recorder or CudaGraphRecorder(fast.host.device)
        )
        super().__init__("cuda_graph", fast.host, self._graphs)

    @property
    def reasons(self) -> dict[str, str]:
        """What runs without a graph ("backbone", "head") and why."""
        return self._graphs.reasons
