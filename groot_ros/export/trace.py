"""What goes through the stages of an engine, recorded or timed."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from groot_ros.runtime.gr00t_n1d6 import StageRunner, Stages
from groot_ros.runtime.gr00t_n1d6.stages import Stage
from groot_ros.runtime.names import STAGES


@dataclass(frozen=True)
class Call:
    """One run of a stage."""

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]


@dataclass
class Trace:
    """Runs of every stage, in order."""

    calls: dict[str, list[Call]] = field(default_factory=lambda: {name: [] for name in STAGES})


@contextmanager
def recorded(runner: StageRunner) -> Iterator[Trace]:
    """Copies of everything that goes in and out, while this lasts."""
    trace = Trace()

    def wrap(name: str, stage: Stage) -> Stage:
        def run(*inputs: Tensor) -> Any:
            outputs = stage(*inputs)
            trace.calls[name].append(Call(_copies(inputs), _copies(as_tuple(outputs))))
            return outputs

        return run

    with _wrapped(runner, wrap):
        yield trace


@contextmanager
def timed(runner: StageRunner, device: torch.device) -> Iterator[Mapping[str, list[float]]]:
    """Seconds of every run of every stage, while this lasts; waits for the device around each."""
    seconds: dict[str, list[float]] = {name: [] for name in STAGES}

    def wait() -> float:
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter()

    def wrap(name: str, stage: Stage) -> Stage:
        def run(*inputs: Tensor) -> Any:
            begin = wait()
            outputs = stage(*inputs)
            seconds[name].append(wait() - begin)
            return outputs

        return run

    with _wrapped(runner, wrap):
        yield seconds


def as_tuple(outputs: Any) -> tuple[Tensor, ...]:
    """A single output comes bare."""
    return (outputs,) if isinstance(outputs, Tensor) else tuple(outputs)


@contextmanager
def _wrapped(runner: StageRunner, wrap: Callable[[str, Stage], Stage]) -> Iterator[None]:
    own = runner.stages
    runner.stages = Stages(**{name: wrap(name, getattr(own, name)) for name in STAGES})
    try:
        yield
    finally:
        runner.stages = own


def _copies(tensors: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    # An engine may give its own buffers, which the next run overwrites.
    return tuple(tensor.detach().clone() for tensor in tensors)
