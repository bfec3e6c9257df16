from hypothesis import given
from hypothesis import strategies as st

from groot_ros.sim.real_time_pacer import RealTimePacer

MS = 1_000_000
PERIOD = 4 * MS


@given(st.lists(st.integers(0, 40 * MS), min_size=1, max_size=60))
def test_however_unevenly_it_is_asked_no_period_is_lost_or_run_early(gaps):
    pacer = RealTimePacer(PERIOD)
    clock = 17 * MS
    total, _ = pacer.due(clock)
    for gap in gaps:
        clock += gap
        cycles, jump = pacer.due(clock)
        total += cycles
        assert jump == 0
        assert total == (clock - 17 * MS) // PERIOD


def test_a_factor_makes_simulated_time_faster():
    pacer = RealTimePacer(PERIOD, factor=5.0)
    pacer.due(0)
    assert pacer.due(100 * MS) == (125, 0)


def test_a_clock_that_jumps_is_followed_not_caught_up_with():
    pacer = RealTimePacer(PERIOD)
    pacer.due(0)
    assert pacer.due(10_000 * MS) == (0, 10_000 * MS)
    assert pacer.due(10_008 * MS) == (2, 0)
    assert pacer.due(3_000 * MS) == (0, 3_000 * MS - 10_008 * MS)
    assert pacer.due(3_004 * MS) == (1, 0)


def test_the_wait_ends_when_the_next_period_is_due():
    pacer = RealTimePacer(PERIOD, factor=0.5)
    pacer.due(0)
    assert pacer.wait(1 * MS) == 0.007
    assert pacer.wait(8 * MS) == 0.001
