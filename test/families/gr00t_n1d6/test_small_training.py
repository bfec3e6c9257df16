# SPDX-License-Identifier: Apache-2.0
"""Training of a small network: initial weights, learning rate, and averaged weights."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from groot_ros.families.gr00t_n1d6.small_training import Optimiser, rate_share
from groot_ros.families.registry import get_family
from groot_ros.families.training import DataLayout

LAYOUT = DataLayout("new_embodiment", ("front",), {"arm": 6}, {"arm": 6}, horizon=16)


def test_initial_weights_depend_only_on_the_seed():
    def weights(seed):
        trainer = get_family("gr00t_n1d6").small_trainer(LAYOUT, seed)
        return torch.cat([p.detach().flatten() for p in trainer.model.action_head.parameters()])

    first = weights(1)
    assert torch.equal(first, weights(1))
    assert not torch.equal(first, weights(2))


@given(st.integers(60, 5000), st.floats(0, 1))
def test_the_learning_rate_stays_positive_and_within_its_peak(steps, share):
    assert 0.0 < rate_share(int(share * steps), steps) <= 1.0


def test_the_learning_rate_rises_then_falls_to_a_fiftieth_of_its_peak():
    rates = [rate_share(step, 1000) for step in range(1001)]
    peak = rates.index(max(rates))
    assert rates[:peak] == sorted(rates[:peak])
    assert rates[peak:] == sorted(rates[peak:], reverse=True)
    assert rates[-1] == pytest.approx(0.02)


def test_the_optimiser_lowers_the_loss_and_the_averaged_weights_follow():
    torch.manual_seed(0)
    layer = nn.Linear(3, 1)
    optimiser = Optimiser([layer], 400, 0.05)
    x = torch.randn(64, 3)
    y = x @ torch.tensor([[1.0], [-2.0], [0.5]]) + 0.3
    first = float(((layer(x) - y) ** 2).mean().detach())
    for _ in range(400):
        last = optimiser.step(((layer(x) - y) ** 2).mean())
    kept = ((optimiser.averaged[0](x) - y) ** 2).mean()
    assert last < 1e-4 * first
    assert float(kept) < 0.05 * first
    assert not any(p.requires_grad for p in optimiser.averaged[0].parameters())
