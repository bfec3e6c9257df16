# SPDX-License-Identifier: Apache-2.0
"""Engine "torch_tensorrt": segments compiled by Torch-TensorRT, one CUDA graph per stage."""

from contextlib import nullcontext

import torch

from groot_ros.core.program import Program
from groot_ros.runtime.device import DTYPES
from groot_ros.runtime.engines import EngineFiles, EngineKind, LoadRequest
from groot_ros.runtime.graph_recorder import CudaGraphRecorder, GraphRecorder
from groot_ros.runtime.graph_replay import GraphRunner
from groot_ros.runtime.manifest import engine_command
from groot_ros.runtime.program_engine import Executor, ProgramEngine, SegmentRunner
from groot_ros.runtime.reference_outputs import ReferenceOutputs
from groot_ros.runtime.torch_tensorrt.availability import unavailable

#: Times of TensorRT's kernels, kept in the engine directory.
_TIMING_CACHE = "torch_tensorrt_timing.cache"


def make_engine(
    program: Program, files: EngineFiles, recorder: GraphRecorder | None = None
) -> ProgramEngine:
    """Quantise and compile segments of a program.

    Args:
        program: all segments, in the precision of `weights_dtype`.
        files: engine directory whose manifest has the options.
        recorder: records the graphs; CUDA graphs if None.

    Raises:
        TensorRtError: a segment cannot be compiled.
        EngineFilesError: the stored observations, on which products are quantised, cannot be read.

    """
    # Can be imported only if Torch-TensorRT is installed.
    from groot_ros.runtime.torch_tensorrt.compiling import CompiledSegment, compiler_settings
    from groot_ros.runtime.torch_tensorrt.quantising import quantise_segments, quantised_export

    manifest = files.manifest
    options = manifest.torch_tensorrt
    assert options is not None
    settings = compiler_settings(
        options, DTYPES[manifest.precision], manifest.attention, files.directory / _TIMING_CACHE
    )
    if options.quantise:
        cases = ReferenceOutputs.load(files.directory, manifest).cases
        observations = [case.inputs for case in cases]
        quantise_segments(
            program, options.quantised, observations, manifest.steps[0], options.quantise
        )
    executors: dict[str, Executor] = {}
    for name in options.segments:
        with quantised_export() if name in options.quantised else nullcontext():
            executors[name] = CompiledSegment(
                program.modules[name],
                program.spec,
                name,
                manifest.profile,
                dtype=program.dtype,
                device=program.device,
                settings=settings,
            )
    # A compiled segment holds as much as its module, which is on the host now; the program counts
    # both as one.
    inner = SegmentRunner(program, executors, release=executors.clear)
    # A TensorRT context has one shape at a time, so only one graph per stage can be kept.
    graphs = GraphRunner(
        inner, recorder or CudaGraphRecorder(program.device), capacity=1, repeats=False
    )
    return ProgramEngine("torch_tensorrt", program, graphs)


def weights_dtype(files: EngineFiles) -> torch.dtype:
    """Return the element type of the weights before Torch-TensorRT compiles them."""
    options = files.manifest.torch_tensorrt
    explicit = options is None or options.explicit_typing
    return DTYPES[files.manifest.precision] if explicit else torch.float32


def load(request: LoadRequest) -> ProgramEngine:
    """Load the program and compile its segments."""
    files = request.require_files()
    program = request.source.load_program(
        device=request.device,
        dtype=weights_dtype(files),
        step_counts=request.step_counts,
        progress=request.progress,
    )
    return make_engine(program, files)


def why_unavailable(device: torch.device, files: EngineFiles | None) -> str:
    """Return why Torch-TensorRT cannot run the engine directory on this GPU."""
    options = None if files is None else files.manifest.torch_tensorrt
    if reason := unavailable(quantised=options is not None and bool(options.quantise)):
        return reason
    if files is not None and options is None:
        make = engine_command(
            "make",
            checkpoint=files.manifest.checkpoint,
            embodiment=files.manifest.embodiment,
            precision=files.manifest.precision,
            engine_directory=files.directory,
            engine="torch_tensorrt",
        )
        return f"{files.directory}: was not made for it; make it with: {make}"
    return ""


ENGINE = EngineKind(
    "torch_tensorrt",
    rank=4,
    needs_files=True,
    load=load,
    needs_cuda=True,
    needs_export=False,
    unavailable_reason=why_unavailable,
)
