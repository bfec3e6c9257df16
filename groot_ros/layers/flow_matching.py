# SPDX-License-Identifier: Apache-2.0
"""Sampling by flow matching: noise at t = 0, data at t = 1, velocity = data - noise."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Conditioning:
    """Constraints of committed motion on a new chunk; inputs of each denoising step.

    With the neutral values (`Conditioning.none`) each step is exactly a plain flow matching step,
    so the same graph serves all modes of real-time chunking.

    Attributes:
        prefix: float32 [B, H, A], normalised actions to follow.
        start: float32 [B, H, A], 1 where sampling starts from the prefix instead of noise.
        weight: float32 [B, H, A], weight that pulls the predicted end point to the prefix.
        strength: float32 [B, H, A], factor on the velocity; 0 freezes a value.
        clean: float32 [B, H], 1 where a step is shown to the network as finished (time 1).

    """

    prefix: Tensor
    start: Tensor
    weight: Tensor
    strength: Tensor
    clean: Tensor

    @classmethod
    def none(cls, batch: int, horizon: int, width: int, device: torch.device) -> "Conditioning":
        """Return the neutral values, which give plain sampling."""
        zeros = torch.zeros(batch, horizon, width, device=device)
        return cls(zeros, zeros, zeros, torch.ones_like(zeros), zeros[..., 0])


#: Names of the fields of `Conditioning`, inputs that make a chunk continue committed motion.
CONDITIONING = ("prefix", "start", "weight", "strength", "clean")


def euler_step(
    actions: Tensor,
    velocity: Tensor,
    time: Tensor,
    dt: Tensor | float,
    prefix: Tensor,
    weight: Tensor,
    strength: Tensor,
    gain: Tensor | float,
) -> Tensor:
    """Take one Euler step, guided towards a prefix.

    Returns x + dt * strength * (v + gain * weight * (prefix - x1)), where x1 = x + (1 - t) v
    predicts the end point. The Jacobian of x1 is taken as the identity, so engines need no
    gradients.

    Args:
        actions: x, float32 [B, H, A].
        velocity: v, float32 [B, H, A].
        time: t in [0, 1], broadcast to `actions`.
        dt: time step.
        prefix: see `Conditioning`.
        weight: see `Conditioning`.
        strength: see `Conditioning`.
        gain: factor on the correction towards the prefix.

    """
    end = actions + (1.0 - time) * velocity
    pull = gain * weight * (prefix - end)
    return actions + dt * strength * (velocity + pull)


def step_times(steps: int) -> list[float]:
    """Return the start time of each Euler step: 0, 1/N, ...

    Raises:
        ValueError: `steps` is less than 1.

    """
    if steps < 1:
        raise ValueError(f"num_inference_steps must be at least 1, not {steps}")
    return [i / float(steps) for i in range(steps)]


def bucket(time: float, buckets: int) -> int:
    """Convert a continuous time to the index of its embedding, truncated as in Isaac-GR00T."""
    return int(time * buckets)


def draw_noise(shape: tuple[int, ...], seed: int, device: torch.device | str = "cpu") -> Tensor:
    """Draw standard normal float32 values.

    They are drawn on the CPU, so that a seed gives the same values on every device.
    """
    generator = torch.Generator(device="cpu").manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float32).to(device)
