import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from groot_ros.training.optimiser import Optimiser, rate_share


@given(st.integers(60, 5000), st.floats(0, 1))
def test_the_rate_stays_within_its_peak_and_never_vanishes(steps, share):
    assert 0.0 < rate_share(int(share * steps), steps) <= 1.0


def test_the_rate_rises_falls_and_ends_at_a_fiftieth():
    rates = [rate_share(step, 1000) for step in range(1001)]
    peak = rates.index(max(rates))
    assert rates[:peak] == sorted(rates[:peak])
    assert rates[peak:] == sorted(rates[peak:], reverse=True)
    assert rates[-1] == pytest.approx(0.02)


def test_it_minimises_and_its_average_follows():
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
