# SPDX-License-Identifier: Apache-2.0
"""Periodic instants without drift, and pacing that loses no period."""

from hypothesis import given
from hypothesis import strategies as st

from groot_ros.sim.clock import PeriodicTimer, RealTimePacer

MS = 1_000_000


def test_cycles_of_4_ms_give_exactly_30_instants_per_second():
    timer = PeriodicTimer(30.0, 5 * MS)
    assert sum(timer.due(5 * MS + cycle * 4 * MS) for cycle in range(2500)) == 300


@given(st.floats(1.0, 1000.0), st.integers(1, 20))
def test_the_rate_holds_for_any_rate_and_any_faster_cycle(rate, divisor):
    timer = PeriodicTimer(rate, 0)
    cycle = 1e9 / rate / divisor
    count = sum(timer.due(round(i * cycle)) for i in range(50 * divisor))
    assert 49 <= count <= 51


def test_missed_instants_are_skipped():
    timer = PeriodicTimer(100.0, 0)
    assert timer.due(0)
    assert timer.due(95 * MS)
    assert not timer.due(99 * MS)
    assert timer.due(100 * MS)


def test_after_a_restart_it_counts_from_the_new_instant():
    timer = PeriodicTimer(10.0, 0)
    timer.restart(1000 * MS)
    assert not timer.due(999 * MS)
    assert timer.due(1000 * MS)


PERIOD = 4 * MS


@given(st.lists(st.integers(0, 40 * MS), min_size=1, max_size=60))
def test_uneven_calls_lose_no_period_and_run_none_early(gaps):
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


def test_a_jump_of_the_clock_is_reported_and_not_made_up_for():
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
