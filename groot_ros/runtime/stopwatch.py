"""When a device passes a point of its work, without making the host wait there."""

import time
from itertools import pairwise

import torch


class Stopwatch:
    """Marks on the timeline of a device: CUDA events, or the host's clock without a GPU."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._times: list[float] = []
        self._events: list[torch.cuda.Event] = []

    def mark(self) -> None:
        """Here, on the current stream; returns at once."""
        if self._device.type != "cuda":
            self._times.append(time.perf_counter())
            return
        event = torch.cuda.Event(enable_timing=True)
        event.record(torch.cuda.current_stream(self._device))
        self._events.append(event)

    def seconds(self) -> list[float]:
        """Between one mark and the next; waits until the device has passed the last."""
        if self._device.type != "cuda":
            return [b - a for a, b in pairwise(self._times)]
        self._events[-1].synchronize()
        return [1e-3 * a.elapsed_time(b) for a, b in pairwise(self._events)]
