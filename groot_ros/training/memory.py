# SPDX-License-Identifier: Apache-2.0
"""Memory that a run needs, computed before it starts."""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

_FLOAT = 4


@dataclass(frozen=True)
class MemoryEstimate:
    """Memory of the parameters of a run in bytes.

    Attributes:
        frozen: weights that are not trained.
        trained: weights that are trained, float32.
        gradients: as much as the trained weights.
        optimiser: two moments of each trained weight.
        averaged: averaged weights.

    """

    frozen: int
    trained: int
    gradients: int
    optimiser: int
    averaged: int

    @property
    def total(self) -> int:
        """Return the sum."""
        return self.frozen + self.trained + self.gradients + self.optimiser + self.averaged

    def lines(self) -> list[str]:
        """Return the estimate as text, one line each."""
        parts = {
            "frozen weights": self.frozen,
            "trained weights": self.trained,
            "gradients": self.gradients,
            "AdamW": self.optimiser,
            "averaged weights": self.averaged,
        }
        lines = [f"  {name:18} {size / 1e9:8.2f} GB" for name, size in parts.items() if size]
        return [
            "memory that the run needs on each device, without activations:",
            *lines,
            f"  {'sum':18} {self.total / 1e9:8.2f} GB",
        ]


def estimate_memory(
    shapes: Mapping[str, tuple[tuple[int, ...], bool]],
    *,
    frozen_bytes: int,
    averaged: bool,
    lora_rank: int = 0,
    lora_targets: str = "",
) -> MemoryEstimate:
    """Return the memory of weights, gradients and optimiser.

    Args:
        shapes: name -> shape and whether it is trained; see `Family.training_shapes`.
        frozen_bytes: bytes of one value of a frozen weight.
        averaged: whether an average of the weights is kept.
        lora_rank: rank of the adapters; 0 = none.
        lora_targets: pattern of the names of adapted layers.

    """
    frozen = trained = 0
    pattern = re.compile(lora_targets)
    for name, (shape, learns) in shapes.items():
        size = math.prod(shape)
        if learns:
            trained += size
        else:
            frozen += size
        if lora_rank and name.endswith(".weight") and pattern.fullmatch(name[: -len(".weight")]):
            trained += lora_rank * sum(shape)
    weights = trained * _FLOAT
    return MemoryEstimate(
        frozen * frozen_bytes, weights, weights, 2 * weights, weights if averaged else 0
    )


def activation_bytes(forward: Callable[[], Tensor]) -> int:
    """Return the memory that a forward pass keeps for the backward pass, parameters excluded."""
    stored: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        if not isinstance(tensor, torch.nn.Parameter):
            storage = tensor.untyped_storage()
            stored[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        result = forward()
    del result
    return sum(stored.values())
