from hypothesis import given
from hypothesis import strategies as st

from groot_ros.sim.periodic_timer import PeriodicTimer

MS = 1_000_000


def test_thirty_a_second_out_of_four_millisecond_cycles_makes_thirty():
    cadence = PeriodicTimer(30.0, 5 * MS)
    assert sum(cadence.due(5 * MS + cycle * 4 * MS) for cycle in range(2500)) == 300


@given(st.floats(1.0, 1000.0), st.integers(1, 20))
def test_the_rate_holds_for_any_rate_and_any_faster_cycle(rate, divisor):
    cadence = PeriodicTimer(rate, 0)
    cycle = 1e9 / rate / divisor
    count = sum(cadence.due(round(i * cycle)) for i in range(50 * divisor))
    assert 49 <= count <= 51


def test_missed_instants_are_skipped_not_made_up_for():
    cadence = PeriodicTimer(100.0, 0)
    assert cadence.due(0)
    assert cadence.due(95 * MS)
    assert not cadence.due(99 * MS)
    assert cadence.due(100 * MS)


def test_after_a_restart_the_count_begins_there():
    cadence = PeriodicTimer(10.0, 0)
    cadence.restart(1000 * MS)
    assert not cadence.due(999 * MS)
    assert cadence.due(1000 * MS)
