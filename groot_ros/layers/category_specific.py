# SPDX-License-Identifier: Apache-2.0
"""Layers with one set of weights per embodiment."""

import math

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from groot_ros.layers.fusion import linear


class CategoryLinear(nn.Module):
    """y = x W[e] + b[e]; W is stored [embodiments, in, out]."""

    def __init__(self, categories: int, in_dim: int, out_dim: int) -> None:
        super().__init__()
        self.W = nn.Parameter(0.02 * torch.randn(categories, in_dim, out_dim))
        self.b = nn.Parameter(torch.zeros(categories, out_dim))

    def forward(self, x: Tensor, embodiment: Tensor) -> Tensor:
        """Apply each sample's weights: x [B, T, in], embodiment int64 [B]; returns [B, T, out]."""
        return torch.bmm(x, self.W[embodiment]) + self.b[embodiment][:, None]


def of_category(layer: CategoryLinear, row: int) -> nn.Linear:
    """Return the weights of one category as an ordinary linear layer."""
    return linear(layer.W[row].T.contiguous(), layer.b[row].clone())


class CategoryMLP(nn.Module):
    """Two layers with ReLU: the state encoder and the action decoder."""

    def __init__(self, categories: int, in_dim: int, hidden: int, out_dim: int) -> None:
        super().__init__()
        self.layer1 = CategoryLinear(categories, in_dim, hidden)
        self.layer2 = CategoryLinear(categories, hidden, out_dim)

    def forward(self, x: Tensor, embodiment: Tensor) -> Tensor:
        """Map x [B, T, in] to [B, T, out]; embodiment is int64 [B]."""
        return self.layer2(F.relu(self.layer1(x, embodiment)), embodiment)


def time_code(timestep: Tensor, width: int) -> Tensor:
    """Encode time buckets [B, T] as float32 [B, T, width]: the sines first, then the cosines.

    The frequencies are exp(-ln(1e4) k / (width/2)) for k = 0, 1, ... width/2 - 1.
    """
    half = width // 2
    k = torch.arange(half, dtype=torch.float32, device=timestep.device)
    angles = timestep.float()[..., None] * torch.exp(-k * (math.log(10000.0) / half))
    return torch.cat([angles.sin(), angles.cos()], dim=-1)


class ActionEncoder(nn.Module):
    """Encoder of noisy actions and their denoising time as tokens."""

    def __init__(self, categories: int, action_dim: int, width: int) -> None:
        super().__init__()
        self.width = width
        self.W1 = CategoryLinear(categories, action_dim, width)
        self.W2 = CategoryLinear(categories, 2 * width, width)
        self.W3 = CategoryLinear(categories, width, width)

    def forward(self, actions: Tensor, timestep: Tensor, embodiment: Tensor) -> Tensor:
        """Encode actions as tokens [B, H, width].

        Args:
            actions: [B, H, A].
            timestep: time bucket of every step, [B, H].
            embodiment: int64 [B].

        """
        embedded = self.W1(actions, embodiment)
        code = time_code(timestep, self.width).to(embedded.dtype)
        x = self.W2(torch.cat([embedded, code], dim=-1), embodiment)
        return self.W3(x * torch.sigmoid(x), embodiment)
