# SPDX-License-Identifier: Apache-2.0
"""Engine "tensorrt": TensorRT engine files, launched as one CUDA graph per stage."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from groot_ros.core.program import Program
from groot_ros.runtime.engines import EngineFiles, EngineKind, LoadRequest
from groot_ros.runtime.graph_recorder import CudaGraphRecorder, GraphRecorder
from groot_ros.runtime.graph_replay import GraphRunner
from groot_ros.runtime.program_engine import ProgramEngine, SegmentRunner
from groot_ros.runtime.tensorrt.availability import installed_version, this_machine, unavailable


def make_engine(
    plans: Mapping[str, Path], program: Program, recorder: GraphRecorder | None = None
) -> ProgramEngine:
    """Load engine files.

    Args:
        plans: segment -> engine file; the largest is loaded first, while memory is unfragmented.
        program: binds observations, and executes the segments that have no file.
        recorder: records the graphs; CUDA graphs if None.

    Raises:
        TensorRtError: TensorRT cannot run on this machine, or a file does not match its segment.
        ValueError: a segment has neither an engine file nor weights.

    """
    inner = segment_runner(plans, program)
    # A TensorRT context has one shape at a time, so only one graph per stage can be kept.
    graphs = GraphRunner(
        inner, recorder or CudaGraphRecorder(program.device), capacity=1, repeats=False
    )
    return ProgramEngine("tensorrt", program, graphs)


def segment_runner(plans: Mapping[str, Path], program: Program) -> SegmentRunner:
    """Return a runner that executes engine files on the current stream.

    The stream must not be the default one. Engines share buffers by tensor name, so that one reads
    the outputs of another without a copy. Arguments and exceptions are those of `make_engine`.
    """
    missing = [n for n in program.spec.names if n not in plans and n not in program.modules]
    if missing:
        raise ValueError(f"segment '{missing[0]}' has neither an engine file nor weights")
    # Can be imported only if TensorRT is installed.
    from groot_ros.runtime.tensorrt.session import Buffers, Session, TensorRtSegment

    buffers = Buffers(program.device)
    by_size = sorted(plans, key=lambda name: plans[name].stat().st_size, reverse=True)
    sessions: dict[str, Session] = {}
    with torch.cuda.device(program.device):
        for name in by_size:
            sessions[name] = Session(plans[name], program.spec.segment(name), program.dtype)
    for session in sessions.values():
        session.reserve(buffers)
    for session in sessions.values():
        session.bind(buffers)
    executors: dict[str, Callable[..., Any]] = {}
    for name, session in sessions.items():
        executor = TensorRtSegment(session, buffers)
        # The next repetition would overwrite the results of this one.
        repeated = program.spec.segment(name).lists_outputs
        executors[name] = _copied(executor) if repeated else executor

    def release() -> None:
        # Contexts and engines use the buffers. The graphs that contain them are released already.
        for session in sessions.values():
            session.close()
        sessions.clear()
        buffers.release()

    held = sum(session.nbytes for session in sessions.values()) + buffers.nbytes
    return SegmentRunner(program, executors, file_bytes=held, release=release)


def _copied(executor: Callable[..., Any]) -> Callable[..., Any]:
    def run(*inputs: Tensor) -> Any:
        outputs = executor(*inputs)
        if isinstance(outputs, Tensor):
            return outputs.clone()
        return tuple(tensor.clone() for tensor in outputs)

    return run


def load(request: LoadRequest) -> ProgramEngine:
    """Load the engine files of the request's directory."""
    files = request.require_files()
    manifest = files.manifest
    machine = this_machine(installed_version(), request.device)
    manifest.require_plans(files.directory, machine)
    plans = {
        name: files.directory / own.plan.file
        for name, own in manifest.segments.items()
        if own.plan is not None
    }
    return make_engine(plans, request.remaining_program(files))


def why_unavailable(device: torch.device, files: EngineFiles | None) -> str:
    """Return why TensorRT cannot run on this GPU."""
    return unavailable() or ""


ENGINE = EngineKind(
    "tensorrt",
    rank=0,
    needs_files=True,
    load=load,
    needs_cuda=True,
    unavailable_reason=why_unavailable,
)
