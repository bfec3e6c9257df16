"""Work is begun only where it was over in time lately."""

from groot_ros.bridge.tick_budget import TickBudget


def test_work_of_unknown_length_needs_half_a_period():
    gap = TickBudget(0.01)
    assert gap.fits(0.0051)
    assert not gap.fits(0.0049)


def test_the_longest_of_the_last_pieces_counts_and_is_forgotten():
    gap = TickBudget(0.01)
    gap.took(0.002)
    gap.took(0.001)
    for _ in range(30):
        gap.took(0.001)
    # The first guess has left by now, the 2 ms have not.
    assert gap.fits(0.0021)
    assert not gap.fits(0.0019)
    gap.took(0.001)
    assert gap.fits(0.0011)


def test_work_longer_than_a_period_never_fits():
    gap = TickBudget(0.01)
    gap.took(0.02)
    assert not gap.fits(0.01)
