"""A /clock that stands is noticed by a steady one."""

from groot_ros.bridge.clock_stall import ClockStall
from groot_ros.core import s_to_ns

CLOCK = s_to_ns(100.0)


def test_a_clock_that_goes_on_however_slowly_is_fine():
    watch = ClockStall()
    assert [watch.look(CLOCK + i, s_to_ns(0.9 * i)) for i in range(5)] == [""] * 5


def test_one_that_stands_is_told_until_it_goes_on():
    watch = ClockStall()
    told = [watch.look(CLOCK, s_to_ns(t)) for t in (5.0, 5.9, 6.0, 60.0)]
    assert told == ["", "", *["/clock has stood still for 1 s or more"] * 2]
    assert watch.look(CLOCK - 1, s_to_ns(61.0)) == ""


def test_one_that_never_began_is_another_matter():
    watch = ClockStall()
    assert watch.look(0, 0) == ""
    assert watch.look(0, s_to_ns(1.0)) == "no /clock: use_sim_time is on and nobody publishes it"
