"""Implementations of one stage of the model, each as a callable that runs it once."""

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

#: Returns the stage's result where it is one of ours, done when it returns.
Run = Callable[[], Any]
Factory = Callable[[str, Any], Run]

#: Gigabytes go here, not to /tmp, which may be in memory.
_OUT = Path("out")


def waiting(work: Run, device: torch.device) -> Run:
    """Return `work` in inference mode, done when it returns."""

    def run() -> Any:
        with torch.inference_mode():
            result = work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return result

    return run


def stage_of(program: Program, case: BenchmarkCase) -> Stage:
    """Return the stage that is measured."""
    return next(stage for stage in program.spec.stages if stage.name == case.stage)


def through(case: BenchmarkCase, program: Program, runner: StageRunner) -> Run:
    """Return one stage of the staged model, executed by a runner."""
    binding, carried = case.tensors(program)
    stage = stage_of(program, case)
    (result,) = stage.results
    return waiting(lambda: runner.run(stage, binding, carried)[result], program.device)


def by_segment(case: BenchmarkCase, program: Program, runner: SegmentRunner) -> dict[str, Run]:
    """Return each segment of the stage alone, with all its repetitions."""
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
    """Return the model as written."""
    return waiting(case.reference(), case.device)


def cuda_graph(stage: str, case: BenchmarkCase) -> Run:
    """Return a stage recorded once and replayed."""
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
    """Return the files that TensorRT engines are built from, executed by onnxruntime."""
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


#: What can be named on the command line besides "torch".
ENGINES: dict[str, Factory] = {
    "reference": reference,
    "cuda_graph": cuda_graph,
    "onnxruntime": onnxruntime,
}
