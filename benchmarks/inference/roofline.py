# SPDX-License-Identifier: Apache-2.0
"""Measured speed of the machine in reading memory and multiplying matrices."""

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from groot_ros.families.family import SegmentWork
from groot_ros.layers.packed_linear import can_pack, pack


@dataclass(frozen=True)
class Machine:
    """Measured speed of a machine.

    Attributes:
        bandwidth: bytes per second read by a sum.
        speed: operations per second of a product of large matrices.

    """

    bandwidth: float
    speed: float

    @classmethod
    def measure(cls, device: torch.device, dtype: torch.dtype) -> "Machine":
        """Measure a device; the fastest of several runs excludes other load on the machine."""
        buffer = torch.ones(1 << 28, dtype=torch.float32, device=device)
        side = 2048 if device.type == "cpu" else 8192
        product = nn.Sequential(nn.Linear(side, side, device=device, dtype=dtype))
        if can_pack(device):
            pack(product)
        x = torch.randn(side, side, device=device, dtype=dtype)
        with torch.inference_mode():
            read = _fastest(lambda: float(buffer.sum()))
            multiplied = _fastest(lambda: float(product(x)[0, 0]))
        return cls(buffer.nbytes / read, 2 * side**3 / multiplied)

    def reading(self, work: SegmentWork) -> float:
        """Return the bandwidth floor in s: the time to read the bytes of the work."""
        return work.nbytes / self.bandwidth

    def computing(self, work: SegmentWork) -> float:
        """Return the arithmetic floor in s: the time of its operations."""
        return work.operations / self.speed

    def floor(self, work: SegmentWork) -> float:
        """Return the shortest time in s that the work can take, the larger of both floors."""
        return max(self.reading(work), self.computing(work))


def describe_libraries() -> str:
    """Return the libraries of torch's matrix products on a CPU, and the instructions they use."""
    found = re.search(r"BLAS_INFO=(\w+)", torch.__config__.show())
    dnn = re.search(r"(?:oneDNN|MKL-DNN) v[\d.]+", torch.__config__.show())
    names = [
        f"BLAS {found[1] if found else 'unknown'}",
        dnn[0].replace("Intel(R) ", "") if dnn else "no oneDNN",
        torch.backends.cpu.get_cpu_capability(),
    ]
    return ", ".join(names)


def _fastest(run: Callable[[], Any], times: int = 10) -> float:
    run()
    durations = []
    for _ in range(times):
        started = time.perf_counter()
        run()
        durations.append(time.perf_counter() - started)
    return min(durations)
