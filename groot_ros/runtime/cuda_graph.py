"""Engine "cuda_graph": the exact fast form, launched as two graphs."""

from groot_ros.runtime.gr00t_n1d6 import FastModel, TorchExecutor
from groot_ros.runtime.graph_executor import GraphExecutor
from groot_ros.runtime.recorder import CudaRecorder
from groot_ros.runtime.staged_engine import StagedEngine


class CudaGraphEngine(StagedEngine):
    """Needs a CUDA device; where recording fails it is engine "torch", and says why."""

    def __init__(self, fast: FastModel) -> None:
        device = fast.host.device
        if device.type != "cuda":
            raise ValueError(f"engine 'cuda_graph' needs a CUDA device, not {device}")
        self.executor = GraphExecutor(TorchExecutor(fast), CudaRecorder(device))
        super().__init__("cuda_graph", fast.host, self.executor)

    @property
    def reasons(self) -> dict[str, str]:
        """What runs without a graph ("backbone", "head") and why."""
        return self.executor.reasons
