"""A CUDA graph recorder without a GPU: a replay repeats the work into the recorded tensor."""

from collections.abc import Callable

import torch
from torch import Tensor


class FakeGraph:
    def __init__(self, work: Callable[[], Tensor], output: Tensor) -> None:
        self.work, self.output = work, output
        self.replays, self.released = 0, False

    def replay(self) -> None:
        assert not self.released, "replayed after release"
        self.replays += 1
        self.output.copy_(self.work())

    def release(self) -> None:
        self.released = True


class FakeGraphRecorder:
    """Recorder whose graphs repeat their work.

    Args:
        fault: exception that recording raises.
        wrong: offset of replayed outputs.

    """

    def __init__(self, fault: Exception | None = None, wrong: float = 0.0) -> None:
        self.device = torch.device("cpu")
        self.fault, self.wrong = fault, wrong
        self.recordings: list[FakeGraph] = []
        self.runs = 0

    def run(self, work: Callable[[], Tensor]) -> Tensor:
        self.runs += 1
        return work()

    def record(self, work: Callable[[], Tensor]) -> tuple[FakeGraph, Tensor]:
        if self.fault is not None:
            raise self.fault
        output = torch.full_like(work(), float("nan"))
        recording = FakeGraph(lambda: work() + self.wrong, output)
        self.recordings.append(recording)
        return recording, output
