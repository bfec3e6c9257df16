"""One optimiser for small models: AdamW, warm-up and cosine decay, an average of the weights."""

import copy
import math

import torch
from torch import Tensor, nn

_WARM_UP = 50
_FINAL_SHARE = 0.02
_AVERAGE_KEEP = 0.998


class Optimiser:
    """Trains modules in place; `averaged` holds the weights to keep, module by module."""

    def __init__(self, modules: list[nn.Module], steps: int, peak_rate: float) -> None:
        self._modules = modules
        self.averaged = [copy.deepcopy(module).requires_grad_(False).eval() for module in modules]
        self._parameters = [p for module in modules for p in module.parameters()]
        self._steps, self._peak_rate, self._done = steps, peak_rate, 0
        self._adam = torch.optim.AdamW(
            self._parameters, lr=peak_rate, betas=(0.9, 0.98), weight_decay=1e-4
        )

    def step(self, loss: Tensor) -> float:
        """One update; returns the loss as a number."""
        for group in self._adam.param_groups:
            group["lr"] = self._peak_rate * rate_share(self._done, self._steps)
        self._adam.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self._parameters, 1.0)
        self._adam.step()
        self._done += 1
        # A short memory at first, or the average would still hold the initial weights.
        self._average(min(_AVERAGE_KEEP, (1 + self._done) / (10 + self._done)))
        return float(loss.detach())

    @torch.no_grad()
    def _average(self, keep: float) -> None:
        for kept, module in zip(self.averaged, self._modules, strict=True):
            for target, source in zip(kept.parameters(), module.parameters(), strict=True):
                target.lerp_(source, 1.0 - keep)


def rate_share(step: int, steps: int) -> float:
    """Of the peak learning rate: a linear rise, then half a cosine down to a small rest."""
    fall = 0.5 * (1.0 + math.cos(math.pi * min(step, steps) / steps))
    return min(1.0, (step + 1) / _WARM_UP) * (_FINAL_SHARE + (1.0 - _FINAL_SHARE) * fall)
