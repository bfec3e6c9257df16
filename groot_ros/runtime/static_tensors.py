"""Tensors at fixed addresses: what a recorded graph reads, and what comes back to the host."""

from collections.abc import Sequence

import torch
from torch import Tensor


class StaticTensors:
    """Copies of tensors, on a device, whose addresses never change.

    Values from the host go through pinned memory, so that the copy waits for nothing.
    """

    def __init__(self, like: Sequence[Tensor], device: torch.device) -> None:
        self.tensors = tuple(torch.empty_like(t, device=device) for t in like)
        self._pinned: list[Tensor | None] = [
            torch.empty_like(t, pin_memory=True) if _crosses(t, device) else None for t in like
        ]
        self._read: torch.cuda.Event | None = None

    def fill(self, values: Sequence[Tensor]) -> None:
        """Copy values of the same shapes in, on the current stream."""
        if self._read is not None:
            # Only where the caller never looked at the last result: its pixels may be on their way.
            self._read.synchronize()
            self._read = None
        for static, pinned, value in zip(self.tensors, self._pinned, values, strict=True):
            if pinned is not None and value.device.type == "cpu":
                pinned.copy_(value)
                static.copy_(pinned, non_blocking=True)
            elif value.data_ptr() != static.data_ptr():
                static.copy_(value, non_blocking=True)
        if any(pinned is not None for pinned in self._pinned):
            self._read = torch.cuda.Event()
            self._read.record()


class HostCopy:
    """A result on the host, in pinned memory where it comes from a GPU."""

    def __init__(self) -> None:
        self._buffer: Tensor | None = None

    def fetch(self, result: Tensor) -> Tensor:
        """Wait for `result` and copy it; the copy is overwritten by the next call."""
        if result.device.type == "cpu":
            return result
        if self._buffer is None or self._buffer.shape != result.shape:
            self._buffer = torch.empty_like(result, device="cpu", pin_memory=True)
        self._buffer.copy_(result, non_blocking=True)
        torch.cuda.current_stream(result.device).synchronize()
        return self._buffer


def _crosses(tensor: Tensor, device: torch.device) -> bool:
    return tensor.device.type == "cpu" and device.type == "cuda"
