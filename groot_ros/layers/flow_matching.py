"""The time grid of flow matching: noise at t = 0, data at t = 1, velocity = action - noise."""

import torch
from torch import Tensor


def step_times(steps: int) -> list[float]:
    """Start of every Euler step: 0, 1/N, ... ; raises ValueError for fewer than one step."""
    if steps < 1:
        raise ValueError(f"num_inference_steps must be at least 1, not {steps}")
    return [i / float(steps) for i in range(steps)]


def bucket(time: float, buckets: int) -> int:
    """Continuous time to the integer that the embeddings take, truncated as the reference does."""
    return int(time * buckets)


def draw_noise(shape: tuple[int, ...], seed: int, device: torch.device | str = "cpu") -> Tensor:
    """Standard normal float32, drawn on the CPU so that a seed means the same on every device."""
    generator = torch.Generator(device="cpu").manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float32).to(device)
