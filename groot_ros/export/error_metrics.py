"""Errors of tensors against a reference, accumulated over observations."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class ErrorMetrics:
    """Mean squared error, cosine of the angle between all values at once, largest error."""

    mse: float
    cosine: float
    max_abs: float


class ErrorAccumulator:
    """Accumulates errors over pairs of tensors, in float64."""

    def __init__(self) -> None:
        self._count = 0
        self._squares = self._dot = self._norm_a = self._norm_b = 0.0
        self._largest = 0.0

    def add_pair(self, given: Tensor, reference: Tensor) -> None:
        """Add two tensors of one shape."""
        a, b = given.detach().double().cpu().flatten(), reference.detach().double().cpu().flatten()
        if not a.numel():
            return
        self._count += a.numel()
        self._squares += float((a - b).square().sum())
        self._dot += float(a @ b)
        self._norm_a += float(a @ a)
        self._norm_b += float(b @ b)
        # torch.maximum propagates NaN, max() may not.
        worst = torch.tensor([self._largest, float((a - b).abs().max())])
        self._largest = float(worst.max())

    @property
    def metrics(self) -> ErrorMetrics:
        """Metrics of all pairs; NaN where a value was not finite, or where there was none."""
        norm = (self._norm_a * self._norm_b) ** 0.5
        cosine = self._dot / norm if norm else float("nan")
        mse = self._squares / self._count if self._count else float("nan")
        return ErrorMetrics(mse, cosine, self._largest)
