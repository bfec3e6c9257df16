"""Engine "cuda_graph": the exact fast form, launched as two graphs."""

from groot_ros.runtime.gr00t_n1d6 import StagedModel, TorchRunner
from groot_ros.runtime.graph_recorder import CudaGraphRecorder, GraphRecorder
from groot_ros.runtime.graph_runner import GraphRunner
from groot_ros.runtime.graphed_engine import GraphedEngine


class CudaGraphEngine(GraphedEngine):
    """Where recording fails it is engine "torch"."""

    def __init__(self, fast: StagedModel, recorder: GraphRecorder | None = None) -> None:
        """Records with CUDA where no recorder is given; raises ValueError on another device."""
        recorder = recorder or CudaGraphRecorder(fast.host.device)
        super().__init__("cuda_graph", fast.host, GraphRunner(TorchRunner(fast), recorder))
