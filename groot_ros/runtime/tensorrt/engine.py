"""Engine "tensorrt": engine files inside two CUDA graphs."""

from collections.abc import Mapping
from pathlib import Path

from groot_ros.runtime.gr00t_n1d6 import StagedModel
from groot_ros.runtime.graph_recorder import CudaGraphRecorder, GraphRecorder
from groot_ros.runtime.graph_runner import GraphRunner
from groot_ros.runtime.graphed_engine import GraphedEngine
from groot_ros.runtime.tensorrt.runner import TensorRtRunner


class TensorRtEngine(GraphedEngine):
    """Where recording fails TensorRT's engines are launched one by one."""

    def __init__(
        self, plans: Mapping[str, Path], fast: StagedModel, recorder: GraphRecorder | None = None
    ) -> None:
        """See `TensorRtRunner`; records with CUDA where no recorder is given."""
        # A context belongs to one shape at a time, so one graph of each kind.
        graphs = GraphRunner(
            TensorRtRunner(plans, fast),
            recorder or CudaGraphRecorder(fast.host.device),
            capacity=1,
            several_sizes=False,
        )
        super().__init__("tensorrt", fast.host, graphs)
