# SPDX-License-Identifier: Apache-2.0
"""The measured engines: each makes a callable that runs one stage once."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

from benchmarks.inference.contestants import Run, by_segment, through, waiting
from groot_ros.core.program import Program
from groot_ros.families.family import BenchmarkCase
from groot_ros.runtime.graph_recorder import CudaGraphRecorder, GraphRecorder
from groot_ros.runtime.graph_replay import GraphRunner
from groot_ros.runtime.program_engine import SegmentRunner


@dataclass(frozen=True)
class Measured:
    """An engine with one stage loaded.

    Attributes:
        run: runs the stage once and returns its result after the device has finished.
        program: the staged model; None for the reference model.
        segments: makes segment -> callable that executes all its repetitions; called after the
            first run.
        failure: returns why it does not run as intended, "" if it does; called after the first run.
        close: releases recorded graphs.

    """

    run: Run
    program: Program | None = None
    segments: Callable[[], Mapping[str, Run]] = dict
    failure: Callable[[], str] = str
    close: Callable[[], None] = lambda: None


def reference(case: BenchmarkCase, backend: str) -> Measured:
    """Return the reference model in eager PyTorch."""
    return Measured(waiting(case.reference(), case.device))


def staged(case: BenchmarkCase, backend: str) -> Measured:
    """Return the staged model in eager PyTorch."""
    program = case.program()
    program.pack()
    runner = SegmentRunner(program)
    return _by_segment(case, program, runner)


def compiled(case: BenchmarkCase, backend: str) -> Measured:
    """Return the staged model with each segment compiled by `torch.compile`."""
    torch.compiler.reset()
    program = case.program()
    executors = {
        name: torch.compile(module, backend=backend, dynamic=False)
        for name, module in program.modules.items()
    }
    runner = SegmentRunner(program, executors)
    return _by_segment(case, program, runner)


def make_recorder(device: torch.device) -> GraphRecorder:
    """Return the recorder of engine "cuda_graph"."""
    return CudaGraphRecorder(device)


def cuda_graph(case: BenchmarkCase, backend: str) -> Measured:
    """Return the staged model as one CUDA graph."""
    program = case.program()
    runner = GraphRunner(SegmentRunner(program), make_recorder(program.device))
    return Measured(
        through(case, program, runner),
        program,
        failure=lambda: "; ".join(runner.failures.values()),
        close=runner.close,
    )


def _by_segment(case: BenchmarkCase, program: Program, runner: SegmentRunner) -> Measured:
    return Measured(
        through(case, program, runner), program, lambda: by_segment(case, program, runner)
    )


#: Values of --engines. The second argument is the backend of `torch.compile`.
ENGINES: dict[str, Callable[[BenchmarkCase, str], Measured]] = {
    "reference": reference,
    "torch": staged,
    "torch.compile": compiled,
    "cuda_graph": cuda_graph,
}
