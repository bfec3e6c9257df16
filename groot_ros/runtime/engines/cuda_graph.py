# SPDX-License-Identifier: Apache-2.0
"""Engine "cuda_graph": the staged model, launched as one CUDA graph per stage."""

from groot_ros.runtime.engines import EngineKind, LoadRequest
from groot_ros.runtime.graph_recorder import CudaGraphRecorder
from groot_ros.runtime.graph_replay import GraphRunner
from groot_ros.runtime.program_engine import ProgramEngine, SegmentRunner


def load(request: LoadRequest) -> ProgramEngine:
    """Load the program; a stage whose recording fails runs as in engine "torch"."""
    program = request.program()
    runner = GraphRunner(SegmentRunner(program), CudaGraphRecorder(program.device))
    return ProgramEngine("cuda_graph", program, runner)


ENGINE = EngineKind("cuda_graph", rank=1, needs_files=False, load=load, needs_cuda=True)
