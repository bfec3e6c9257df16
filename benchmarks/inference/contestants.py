# SPDX-License-Identifier: Apache-2.0
"""Implementations of one stage of the model, each as a callable that runs it once."""

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from groot_ros.core.program import Program, Stage
from groot_ros.export.trace import recorded
from groot_ros.families.family import BenchmarkCase
from groot_ros.runtime.device import dtype_name
from groot_ros.runtime.program_engine import Executor, SegmentRunner, StageRunner

#: Runs a stage once, waits for the end and returns the result (anything for `--against`).
Run = Callable[[], Any]
Factory = Callable[[str, Any], Run]

#: Folder for gigabytes of temporary files; not /tmp, which may be in memory.
_OUT = Path("out")


def waiting(work: Run, device: torch.device) -> Run:
    """Wrap `work` to run in inference mode and to return only after the device has finished."""

    def run() -> Any:
        with torch.inference_mode():
            result = work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return result

    return run


def stage_of(program: Program, case: BenchmarkCase) -> Stage:
    """Return the stage of the program that the case measures."""
    return next(stage for stage in program.spec.stages if stage.name == case.stage)


def through(case: BenchmarkCase, program: Program, runner: StageRunner) -> Run:
    """Return a callable that executes one stage of the staged model with a runner."""
    binding, carried = case.tensors(program)
    stage = stage_of(program, case)
    (result,) = stage.results
    return waiting(lambda: runner.run(stage, binding, carried)[result], program.device)


def by_segment(case: BenchmarkCase, program: Program, runner: SegmentRunner) -> dict[str, Run]:
    """Return a callable per segment of the stage that executes all its repetitions."""
    binding, carried = case.tensors(program)
    stage = stage_of(program, case)
    with torch.inference_mode(), recorded(runner) as trace:
        runner.run(stage, binding, carried)

    def repeat(executor: Executor, calls: list[tuple[Tensor, ...]]) -> Run:
        return waiting(lambda: [executor(*inputs) for inputs in calls], program.device)

    return {
        s.name: repeat(runner.executors[s.name], [c.inputs for c in trace.calls[s.name]])
        for s in stage.segments
    }


def reference(stage: str, case: BenchmarkCase) -> Run:
    """Return a callable that runs the reference model."""
    return waiting(case.reference(), case.device)


def eager(stage: str, case: Any) -> Run:
    """Return a callable that runs the reference model as published code does.

    The backbone then also computes the logits of the whole vocabulary for every token, which
    nothing reads.
    """
    run = case.reference()
    if stage != "backbone":
        return waiting(run, case.device)
    text = case.config.eagle.text
    like = {"device": case.device, "dtype": case.dtype}
    weight = torch.full((text.vocab_size, text.hidden_size), 0.01, **like)
    hidden = torch.full((len(case.token_ids), text.hidden_size), 0.01, **like)

    def work() -> Tensor:
        features = run()
        torch.nn.functional.linear(hidden, weight)
        return features

    return waiting(work, case.device)


def can_compile() -> bool:
    """Return whether torch.compile finds a compiler for CPU code."""
    return shutil.which("g++") is not None or shutil.which("clang++") is not None


def compiled(stage: str, case: BenchmarkCase) -> Run:
    """Return a callable that runs the reference model under torch.compile with frozen weights."""
    from torch._inductor import config

    torch.compiler.reset()
    run = waiting(torch.compile(case.reference(), dynamic=False), case.device)
    with config.patch(freezing=True):
        run()
    return run


def cuda_graph(stage: str, case: BenchmarkCase) -> Run:
    """Return a callable that replays a stage recorded as a CUDA graph."""
    from groot_ros.runtime.graph_recorder import CudaGraphRecorder
    from groot_ros.runtime.graph_replay import GraphRunner

    program = case.program()
    runner = GraphRunner(SegmentRunner(program), CudaGraphRecorder(program.device))
    run = through(case, program, runner)
    run()
    for name, failure in runner.failures.items():
        raise RuntimeError(f"cuda_graph runs stage {name} without a graph: {failure}")
    return run


def onnxruntime(stage: str, case: BenchmarkCase) -> Run:
    """Return a callable that runs the ONNX files, from which TensorRT builds, in onnxruntime."""
    from groot_ros.export.onnx_file import export_segment
    from groot_ros.runtime.engines.onnxruntime import OnnxruntimeSegment

    program = case.program()
    precision = dtype_name(program.dtype)
    executors: dict[str, Executor] = {}
    _OUT.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=_OUT, prefix="inference_") as folder:
        for segment in stage_of(program, case).segments:
            path = Path(folder) / f"{segment.name}.onnx"
            module = program.modules[segment.name]
            export_segment(module, program.spec, segment.name, path, precision=precision)
            module.to("meta")
            executors[segment.name] = OnnxruntimeSegment(
                program.spec,
                segment.name,
                path,
                precision,
                program.device,
                torch.get_num_threads(),
            )
    return through(case, program, SegmentRunner(program, executors))


#: Engines that --engines accepts; "torch" is always measured.
ENGINES: dict[str, Factory] = {
    "eager": eager,
    "reference": reference,
    "compiled": compiled,
    "cuda_graph": cuda_graph,
    "onnxruntime": onnxruntime,
}
