# SPDX-License-Identifier: Apache-2.0
"""A CUDA graph recorder without a GPU: a replay repeats the work into the recorded tensors."""

from collections.abc import Callable

import torch
from torch import Tensor

Work = Callable[[], tuple[Tensor, ...]]


class FakeGraph:
    def __init__(self, work: Work, outputs: tuple[Tensor, ...], wrong: float) -> None:
        self.work, self.outputs, self.wrong = work, outputs, wrong
        self.replays, self.released = 0, False

    def replay(self) -> None:
        assert not self.released, "replayed after release"
        self.replays += 1
        results = self.work()
        for output, result in zip(self.outputs, results, strict=True):
            output.copy_(result)
        if self.wrong:
            self.outputs[-1].copy_(self.outputs[-1] + self.wrong)

    def release(self) -> None:
        self.released = True


class FakeGraphRecorder:
    """Recorder whose graphs repeat their work.

    Args:
        fault: exception that recording raises.
        wrong: offset of the last output of a replay.

    """

    def __init__(self, fault: Exception | None = None, wrong: float = 0.0) -> None:
        self.device = torch.device("cpu")
        self.fault, self.wrong = fault, wrong
        self.recordings: list[FakeGraph] = []
        self.runs = 0

    def run(self, work: Work) -> tuple[Tensor, ...]:
        self.runs += 1
        return work()

    def record(self, work: Work) -> tuple[FakeGraph, tuple[Tensor, ...]]:
        if self.fault is not None:
            raise self.fault
        # Unlike the results of the work, as memory that a real graph has not filled yet.
        outputs = tuple(
            torch.full_like(t, float("nan") if t.is_floating_point() else 0) for t in work()
        )
        recording = FakeGraph(work, outputs, self.wrong)
        self.recordings.append(recording)
        return recording, outputs
