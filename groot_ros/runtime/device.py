# SPDX-License-Identifier: Apache-2.0
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
    """Return a device by name; "auto" selects the first GPU, or the CPU if there is none.

    Raises:
        ValueError: the device does not exist on this machine.

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
    """Return an element type by name; "auto" selects bfloat16 on a GPU, float32 on a CPU."""
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
    """Return the name of an element type without "torch."."""
    return str(dtype).removeprefix("torch.")


def default_threads(weight_bytes: int) -> int:
    """Return the number of CPU threads: 1 for a model below SMALL_MODEL, else one per core."""
    return 1 if weight_bytes < SMALL_MODEL else len(os.sched_getaffinity(0))


def upload(tensor: Tensor, device: torch.device) -> Tensor:
    """Copy a host tensor to a device. To a GPU, copy asynchronously through pinned memory."""
    if device.type == "cuda" and tensor.device.type == "cpu":
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)


class HostCopy:
    """Copies results to the host, from a GPU through a pinned buffer that is reused."""

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
    """Measures times on a device: with CUDA events on a GPU, else with the host's clock."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._times: list[float] = []
        self._events: list[torch.cuda.Event] = []

    def mark(self) -> None:
        """Record a mark on the current stream, without waiting for the device."""
        if self._device.type != "cuda":
            self._times.append(time.perf_counter())
            return
        event = torch.cuda.Event(enable_timing=True)
        event.record(torch.cuda.current_stream(self._device))
        self._events.append(event)

    def seconds(self) -> list[float]:
        """Wait for the last mark; return the times between consecutive marks, s."""
        if self._device.type != "cuda":
            return [b - a for a, b in pairwise(self._times)]
        self._events[-1].synchronize()
        return [1e-3 * a.elapsed_time(b) for a, b in pairwise(self._events)]
