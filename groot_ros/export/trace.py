# SPDX-License-Identifier: Apache-2.0
"""Record the inputs and outputs of an engine's segments, or the time that each run takes."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from groot_ros.runtime.program_engine import Executor, SegmentRunner


@dataclass(frozen=True)
class Call:
    """Inputs and outputs of one run of a segment."""

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]


@dataclass
class Trace:
    """Segment -> its runs, in order."""

    calls: dict[str, list[Call]] = field(default_factory=dict)


@contextmanager
def recorded(runner: SegmentRunner) -> Iterator[Trace]:
    """Record copies of all inputs and outputs of the segments, within the context."""
    trace = Trace({name: [] for name in runner.executors})

    def wrap(name: str, executor: Executor) -> Executor:
        def run(*inputs: Tensor) -> Any:
            outputs = executor(*inputs)
            trace.calls[name].append(Call(_copies(inputs), _copies(as_tuple(outputs))))
            return outputs

        return run

    with runner.wrapped(wrap):
        yield trace


@contextmanager
def timed(runner: SegmentRunner, device: torch.device) -> Iterator[Mapping[str, list[float]]]:
    """Record segment -> time of each run, s, within the context.

    Waits for the device before and after each run.
    """
    seconds: dict[str, list[float]] = {name: [] for name in runner.executors}

    def wait() -> float:
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter()

    def wrap(name: str, executor: Executor) -> Executor:
        def run(*inputs: Tensor) -> Any:
            begin = wait()
            outputs = executor(*inputs)
            seconds[name].append(wait() - begin)
            return outputs

        return run

    with runner.wrapped(wrap):
        yield seconds


def as_tuple(outputs: Any) -> tuple[Tensor, ...]:
    """Return the outputs of an executor as a tuple; `outputs` may be a single tensor."""
    return (outputs,) if isinstance(outputs, Tensor) else tuple(outputs)


def _copies(tensors: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    # An engine may return its own buffers, which the next run overwrites.
    return tuple(tensor.detach().clone() for tensor in tensors)
