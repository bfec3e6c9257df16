# SPDX-License-Identifier: Apache-2.0
"""Measured speed of the machine in reading memory and multiplying matrices."""

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

    def floor(self, work: SegmentWork) -> float:
        """Return the shortest time in s that the work can take."""
        return max(work.nbytes / self.bandwidth, work.operations / self.speed)


def _fastest(run: Callable[[], Any], times: int = 10) -> float:
    run()
    durations = []
    for _ in range(times):
        started = time.perf_counter()
        run()
        durations.append(time.perf_counter() - started)
    return min(durations)
