"""Engine "cuda_graph": the staged model, launched as one CUDA graph per stage."""

import torch

from groot_ros.runtime.engines import EngineFiles, EngineKind, LoadRequest
from groot_ros.runtime.graph_recorder import CudaGraphRecorder
from groot_ros.runtime.graph_replay import GraphRunner
from groot_ros.runtime.program_engine import ProgramEngine, SegmentRunner


def load(request: LoadRequest) -> ProgramEngine:
    """Load the program; a stage whose recording fails runs as in engine "torch"."""
    program = request.program()
    runner = GraphRunner(SegmentRunner(program), CudaGraphRecorder(program.device))
    return ProgramEngine("cuda_graph", program, runner)


def needs_cuda(device: torch.device, files: EngineFiles | None) -> str:
    """Return why CUDA graphs cannot be recorded on this device."""
    return "" if device.type == "cuda" else f"needs a CUDA device, the model is on {device}"


ENGINE = EngineKind(
    "cuda_graph", rank=1, needs_files=False, load=load, unavailable_reason=needs_cuda
)
