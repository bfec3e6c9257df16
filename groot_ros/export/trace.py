# SPDX-License-Identifier: Apache-2.0
"""Record the inputs and outputs of an engine's segments, or the time that each run takes."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from groot_ros.runtime.device import Stopwatch
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
def timed(
    runner: SegmentRunner, device: torch.device, timer: str = "wall"
) -> Iterator[Mapping[str, list[float]]]:
    """Record segment -> time of each run, s, within the context; filled when the context ends.

    Args:
        runner: runner whose segments are timed.
        device: device of the runner.
        timer: "wall" waits for the device before and after each run and reads the host's clock;
            "cuda_event" records events on the device and waits once, at the end.

    """
    watches: dict[str, list[Stopwatch]] = {name: [] for name in runner.executors}
    seconds: dict[str, list[float]] = {name: [] for name in runner.executors}

    def wait() -> None:
        if timer == "wall" and device.type == "cuda":
            torch.cuda.synchronize(device)

    def wrap(name: str, executor: Executor) -> Executor:
        def run(*inputs: Tensor) -> Any:
            watch = Stopwatch(device if timer == "cuda_event" else torch.device("cpu"))
            watches[name].append(watch)
            wait()
            watch.mark()
            outputs = executor(*inputs)
            wait()
            watch.mark()
            return outputs

        return run

    with runner.wrapped(wrap):
        yield seconds
    for name, made in watches.items():
        seconds[name] += [watch.seconds()[0] for watch in made]


def as_tuple(outputs: Any) -> tuple[Tensor, ...]:
    """Return the outputs of an executor as a tuple; `outputs` may be a single tensor."""
    return (outputs,) if isinstance(outputs, Tensor) else tuple(outputs)


def _copies(tensors: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    # An engine may return its own buffers, which the next run overwrites.
    return tuple(tensor.detach().clone() for tensor in tensors)
