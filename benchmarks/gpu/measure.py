# SPDX-License-Identifier: Apache-2.0
"""Measure one stage with every engine, and compare each with the reference model in float32."""

import gc
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import Any

import torch
from torch import Tensor

from benchmarks.gpu.cases import in_float32
from benchmarks.gpu.engines import ENGINES
from benchmarks.inference.contestants import Run, waiting
from groot_ros.families.family import BenchmarkCase
from groot_ros.runtime import largest_rounding, tolerance_for
from groot_ros.runtime.device import dtype_name


@dataclass(frozen=True)
class Row:
    """Figures of one engine and stage.

    Attributes:
        family, stage, engine: what was measured.
        error: largest relative error; NaN if a value is not finite.
        tolerance: largest permitted error.
        compile_seconds: time until the first result.
        seconds: median time of a run.
        segments: segment -> median time of all its runs; empty if the engine has no segments.
        memory_bytes: largest memory allocated during the runs, weights included.
        read_bytes: bytes of weights and tables that one run reads; 0 if unknown.

    """

    family: str
    stage: str
    engine: str
    error: float
    tolerance: float
    compile_seconds: float
    seconds: float
    segments: dict[str, float]
    memory_bytes: int
    read_bytes: float

    @property
    def validated(self) -> bool:
        """Return whether the error is within the tolerance; False for NaN."""
        return self.error <= self.tolerance


def measure_stage(
    family: str,
    case: BenchmarkCase,
    dtype: torch.dtype,
    engines: Sequence[str],
    *,
    backend: str,
    rounds: int,
    tell: Callable[[str], None],
) -> Iterator[Row]:
    """Yield a row for every engine.

    Args:
        family: name of the family, for the rows.
        case: the stage, in `dtype`.
        dtype: element type of the weights.
        engines: keys of `ENGINES`.
        backend: backend of `torch.compile`.
        rounds: number of timed runs.
        tell: called with a line of progress.

    Raises:
        ValueError: the reference model in `dtype` is itself too inexact to validate anything, or
            an engine does not run as intended, for example without its CUDA graph.

    """
    what = f"{family} {case.stage}"
    tell(f"{what}: reference model in float32")
    expected = _result(waiting(in_float32(case).reference(), case.device))
    _release(case.device)
    compare = partial(_error, expected=expected, scale=_scale(case, expected))
    precision = dtype_name(dtype)
    rounding = 0.0
    if dtype != torch.float32:
        rounding = compare(_result(waiting(case.reference(), case.device)))
        _release(case.device)
    if not rounding <= largest_rounding(precision):
        raise ValueError(
            f"{what}: the reference model in {precision} has an error of {rounding:.2g}, more than "
            f"{largest_rounding(precision):.2g}: nothing can be validated"
        )
    tolerance = tolerance_for(precision, rounding)
    for name in engines:
        tell(f"{what}: {name}")
        if case.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(case.device)
        engine = ENGINES[name](case, backend)
        started = time.perf_counter()
        error = compare(_result(engine.run))
        first = time.perf_counter() - started
        if failure := engine.failure():
            raise ValueError(f"{what}: engine {name} does not run as intended: {failure}")
        times = {"": engine.run, **engine.segments()}
        seconds = {part: _median(run, rounds) for part, run in times.items()}
        program = engine.program
        work = {} if program is None else case.work(program)
        held = 0 if program is None else program.nbytes
        yield Row(
            family,
            case.stage,
            name,
            error,
            tolerance,
            first,
            seconds.pop(""),
            seconds,
            torch.cuda.max_memory_allocated(case.device) if case.device.type == "cuda" else held,
            sum(each.nbytes for each in work.values()),
        )
        engine.close()
        del engine, program, times
        _release(case.device)


def _result(run: Run) -> Tensor:
    result: Tensor = run()
    return result.float().cpu()


def _scale(case: Any, expected: Tensor) -> float:
    """Return the largest distance of an action from its noise, or the largest feature."""
    origin = case.noise().float().cpu() if case.stage == "head" else torch.zeros(())
    return float((expected - origin).abs().max())


def _error(given: Tensor, *, expected: Tensor, scale: float) -> float:
    return float((given - expected).abs().max()) / scale


def _median(run: Run, rounds: int) -> float:
    run()
    times = []
    for _ in range(rounds):
        started = time.perf_counter()
        run()
        times.append(time.perf_counter() - started)
    return median(times)


def _release(device: torch.device) -> None:
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
