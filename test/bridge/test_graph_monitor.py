# SPDX-License-Identifier: Apache-2.0
"""The later of two publishers on one topic yields, and stalls and jumps of a clock are detected."""

import pytest

from groot_ros.bridge.graph_monitor import (
    UNKNOWN_NODE,
    ClockJumps,
    ClockStall,
    PublisherConflicts,
)
from groot_ros.core import s_to_ns

CLOCK = s_to_ns(100.0)
TOPIC = "/arm/joint_trajectory"


def begun() -> PublisherConflicts:
    conflicts = PublisherConflicts("/executor_node")
    conflicts.begin(0)
    return conflicts


def test_a_single_publisher_is_no_conflict():
    conflicts = begun()
    assert conflicts.check({TOPIC: ["/executor_node"], "/other": []}, 0) == ""
    assert not conflicts.yields


def test_a_node_of_the_same_name_is_another_publisher():
    conflicts = begun()
    description = conflicts.check({TOPIC: ["/executor_node", "/executor_node"]}, s_to_ns(0.5))
    assert description == f"/executor_node publishes on {TOPIC}: stop one of them"
    assert conflicts.yields


def test_a_publisher_of_a_node_not_yet_known_is_a_conflict_unless_it_may_be_its_own():
    conflicts = begun()
    nameless = UNKNOWN_NODE
    assert conflicts.check({TOPIC: [nameless]}, 0) == ""
    description = conflicts.check({TOPIC: [nameless, "/executor_node"]}, 0)
    assert description == f"a node not yet known publishes on {TOPIC}: stop one of them"


def test_the_first_publisher_continues_and_reports_the_conflict():
    conflicts = begun()
    assert conflicts.check({TOPIC: ["/executor_node"]}, s_to_ns(5.9)) == ""
    assert "/teleop" in conflicts.check({TOPIC: ["/teleop", "/executor_node"]}, s_to_ns(6.0))
    assert not conflicts.yields


def test_a_later_publisher_yields_until_it_is_alone():
    conflicts = begun()
    conflicts.check({TOPIC: ["/teleop", "/executor_node"]}, s_to_ns(1.0))
    conflicts.check({TOPIC: ["/teleop", "/executor_node"]}, s_to_ns(9.0))
    assert conflicts.yields
    assert conflicts.check({TOPIC: ["/executor_node"]}, s_to_ns(10.0)) == ""
    assert not conflicts.yields


def test_before_begin_the_node_does_not_yield():
    conflicts = PublisherConflicts("/executor_node")
    assert conflicts.check({TOPIC: ["/teleop"]}, 0) != ""
    assert not conflicts.yields


def test_a_slow_clock_is_no_stall():
    stall = ClockStall()
    assert [stall.check(CLOCK + i, s_to_ns(0.9 * i)) for i in range(5)] == [""] * 5


def test_a_stalled_clock_is_reported_until_it_continues():
    stall = ClockStall()
    found = [stall.check(CLOCK, s_to_ns(t)) for t in (5.0, 5.9, 6.0, 60.0)]
    assert found == ["", "", *["/clock has stood still for 1 s or more"] * 2]
    assert stall.check(CLOCK - 1, s_to_ns(61.0)) == ""


def test_a_clock_that_never_started_has_its_own_message():
    stall = ClockStall()
    assert stall.check(0, 0) == ""
    assert stall.check(0, s_to_ns(1.0)) == "no /clock: use_sim_time is on and nobody publishes it"


def jumps_of(steps):
    """Return what is found over (ROS step, steady step) in s, one after another."""
    jumps, ros, steady, found = ClockJumps(), CLOCK, 0, []
    for ros_step, steady_step in steps:
        ros, steady = ros + s_to_ns(ros_step), steady + s_to_ns(steady_step)
        found.append(jumps.check(ros, steady))
    return found


TICK = (0.01, 0.01)


@pytest.mark.parametrize("jump", [0.3, 0.5, 0.9, 5.0, 1e9])
def test_a_jump_ahead_is_found_once_and_named_with_its_size(jump):
    found = jumps_of([TICK] * 30 + [(jump + 0.01, 0.01)] + [TICK] * 30)
    assert found[30] == f"the clock jumped {jump:.1f} s ahead"
    assert found.count("") == 60


@pytest.mark.parametrize(
    "steps",
    [
        [TICK] * 30 + [(2.0, 2.0)] + [TICK] * 30,
        [TICK] * 30 + [(0.2, 0.01)] + [TICK] * 30,
        [TICK] * 30 + [(0.0, 3.0)] + [TICK] * 30,
        [(0.002, 0.02)] * 60,
        [(0.5, 0.1), *[(0.0, 0.1)] * 4] * 30,
        [TICK] * 30 + [(-5.0, 0.01)] + [TICK] * 30,
    ],
    ids=["stalled process", "small", "stalled clock", "0.1 x", "2 Hz", "back"],
)
def test_what_is_no_jump_ahead_is_not_reported(steps):
    assert set(jumps_of(steps)) == {""}


def test_the_first_message_of_a_clock_is_no_jump():
    jumps = ClockJumps()
    assert jumps.check(0, 0) == jumps.check(0, s_to_ns(0.1)) == ""
    assert jumps.check(s_to_ns(1e9), s_to_ns(0.2)) == ""


def test_a_fast_clock_jumps_at_most_once_until_its_rate_is_known():
    found = jumps_of([(0.5, 0.1)] * 60 + [(1.5, 0.1)])
    assert found[2:60] == [""] * 58
    assert found[60] == "the clock jumped 1.0 s ahead"


def test_a_jump_right_after_the_start_is_found():
    assert jumps_of([TICK, (0.51, 0.01), TICK])[1] == "the clock jumped 0.5 s ahead"


def test_after_a_jump_the_next_one_is_found_again():
    found = jumps_of(([TICK] * 30 + [(0.51, 0.01)]) * 3)
    assert [i for i, text in enumerate(found) if text] == [30, 61, 92]
