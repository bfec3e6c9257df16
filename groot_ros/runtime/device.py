"""Devices, element types, threads, timing, and copies between host and device."""

import os
import time
from itertools import pairwise
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from groot_ros.core.program import TensorSpec

#: Element types by the names that specifications and manifests use.
DTYPES = {
    "float32": torch.float32,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
    "int64": torch.int64,
    "bool": torch.bool,
}
_WEIGHT_DTYPES = {
    "float32": torch.float32,
    "fp32": torch.float32,
    "bfloat16": torch.bfloat16,
    "bf16": torch.bfloat16,
}
#: Values of the parameter `dtype`.
DTYPE_CHOICES = ("auto", *_WEIGHT_DTYPES)
#: Bytes of weights below which a second thread costs more than it gains.
SMALL_MODEL = 64 * 2**20


def choose_device(name: str) -> torch.device:
    """Return a device by name; "auto" is the first GPU, else the CPU.

    Raises:
        ValueError: there is no such device here.

    """
    if name == "auto":
        return torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ValueError(f"device '{name}' is unknown to torch: use auto, cpu or cuda:N") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"device '{name}' was requested but torch sees no CUDA device")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ValueError(f"device '{name}' was requested, torch sees {torch.cuda.device_count()}")
    return device


def choose_dtype(name: str, device: torch.device) -> torch.dtype:
    """Return an element type by name; "auto" is bfloat16 on a GPU, else float32."""
    return _WEIGHT_DTYPES.get(name, torch.bfloat16 if device.type == "cuda" else torch.float32)


def describe_device(device: torch.device) -> str:
    """Return "cpu", or "cuda:0 (name of the GPU)"."""
    if device.type == "cuda":
        return f"{device} ({torch.cuda.get_device_name(device)})"
    return str(device)


def dtype_of(tensor: TensorSpec, weights: torch.dtype) -> torch.dtype:
    """Return the element type of a tensor in an engine whose weights have type `weights`."""
    return weights if tensor.kind == "weights" else DTYPES[tensor.kind]


def dtype_name(dtype: torch.dtype) -> str:
    """Return the name without "torch."."""
    return str(dtype).removeprefix("torch.")


def default_threads(weight_bytes: int) -> int:
    """Return the number of CPU threads for a model: all cores, or one for a small model."""
    return 1 if weight_bytes < SMALL_MODEL else len(os.sched_getaffinity(0))


def upload(tensor: Tensor, device: torch.device) -> Tensor:
    """Copy a host tensor to a device; to a GPU through pinned memory, without waiting."""
    if device.type == "cuda" and tensor.device.type == "cpu":
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)


class HostCopy:
    """Copies results to the host, into pinned memory where they come from a GPU."""

    def __init__(self) -> None:
        self._buffer: Tensor | None = None

    def fetch(self, result: Tensor) -> NDArray[Any]:
        """Wait for `result` and return a copy of it."""
        if result.device.type == "cpu":
            return result.numpy().copy()
        if self._buffer is None or self._buffer.shape != result.shape:
            self._buffer = torch.empty_like(result, device="cpu", pin_memory=True)
        self._buffer.copy_(result, non_blocking=True)
        torch.cuda.current_stream(result.device).synchronize()
        return self._buffer.numpy().copy()


class Stopwatch:
    """Marks on the timeline of a device: CUDA events, or the host's clock without a GPU."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._times: list[float] = []
        self._events: list[torch.cuda.Event] = []

    def mark(self) -> None:
        """Mark the current point of the current stream, without waiting for it."""
        if self._device.type != "cuda":
            self._times.append(time.perf_counter())
            return
        event = torch.cuda.Event(enable_timing=True)
        event.record(torch.cuda.current_stream(self._device))
        self._events.append(event)

    def seconds(self) -> list[float]:
        """Return the times between consecutive marks; waits for the last one."""
        if self._device.type != "cuda":
            return [b - a for a, b in pairwise(self._times)]
        self._events[-1].synchronize()
        return [1e-3 * a.elapsed_time(b) for a, b in pairwise(self._events)]
