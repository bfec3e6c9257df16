"""Bytes and operations of every stage, and how fast the machine is at both."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from benchmarks.inference.case import Case
from groot_ros.models.gr00t_n1d6 import build_model
from groot_ros.runtime.gr00t_n1d6 import StagedModel, make_fast
from groot_ros.layers.packed_linear import can_pack, held_bytes, linear_sizes, pack


@dataclass(frozen=True)
class Work:
    """Bytes read and operations done by one run of a stage."""

    nbytes: float
    operations: float


@dataclass(frozen=True)
class Machine:
    """Measured: bytes/s of a sum, operations/s of a product of large matrices."""

    bandwidth: float
    speed: float

    @classmethod
    def measure(cls, device: torch.device, dtype: torch.dtype) -> "Machine":
        """The fastest of several tries: what else runs here must not count."""
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

    def floor(self, work: Work) -> float:
        """Seconds that the work takes at least."""
        return max(work.nbytes / self.bandwidth, work.operations / self.speed)


def work_of(part: str, case: Case, model: StagedModel) -> dict[str, Work]:
    """By stage; a product of n rows with a matrix is 2 n operations a weight."""
    eagle, dit = case.config.eagle, case.config.dit
    tokens, text = len(case.token_ids), case.text_tokens
    modules = model.modules
    vision, language, context, denoise = (
        modules[name] for name in ("vision", "language", "context", "denoise")
    )
    if part == "backbone":
        cells, views = tokens - text, len(case.image_sizes)
        patches, width = cells * eagle.shuffle**2, eagle.vision.hidden_size
        connector = _weights(vision.first) + _weights(vision.second)
        tower = _weights(vision) - connector
        within_views = 4 * patches**2 / views * width * eagle.vision.num_hidden_layers
        heads = eagle.text.num_attention_heads * eagle.text.head_dim
        causal = 4 * tokens**2 / 2 * heads * case.config.select_layer
        return {
            "vision": Work(
                held_bytes(vision), 2 * (patches * tower + cells * connector) + within_views
            ),
            "language": Work(held_bytes(language), 2 * tokens * _weights(language) + causal),
        }
    rows, width = case.config.action_horizon + 1, dit.inner_dim
    cross = math.ceil(dit.num_layers / 2)
    # Half of the layers look at the text, half at the images.
    seen = cross * tokens / 2
    attention = 4 * rows * width * (seen + (dit.num_layers - cross) * rows)
    read = held_bytes(denoise) + 2 * seen * width * case.dtype.itemsize
    tables = model.host.tables.of(case.steps).nbytes
    projected = 2 * tokens / 2 * _weights(context)
    return {
        "context": Work(held_bytes(context), projected),
        "denoise": Work(
            case.steps * read + tables, case.steps * (2 * rows * _weights(denoise) + attention)
        ),
    }


def resident_bytes(case: Case) -> int:
    """Of the fast form in bfloat16, token embeddings and tables included; no weight is made."""
    plain = build_model(case.config, device="meta", dtype=torch.bfloat16)
    fast = make_fast(plain, step_counts=(case.steps,))
    return fast.nbytes + fast.host.layouts.nbytes


def _weights(module: Any) -> int:
    return sum(linear_sizes(module))


def _fastest(run: Callable[[], Any], times: int = 10) -> float:
    run()
    durations = []
    for _ in range(times):
        started = time.perf_counter()
        run()
        durations.append(time.perf_counter() - started)
    return min(durations)
