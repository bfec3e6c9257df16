# SPDX-License-Identifier: Apache-2.0
"""Selection of gripper goals: deadband, at most 5 per second, the last target is delivered."""

from bisect import bisect_left
from itertools import pairwise

from hypothesis import example, given
from hypothesis import strategies as st

from groot_ros.bridge.goal_schedule import GoalSchedule
from groot_ros.core import s_to_ns

EPOCH_NS = 1_750_000_000_123_456_789
DEADBAND = 0.02


def play(targets, tick: float = 0.01, schedule=None):
    """Pass one target per tick; return the goals sent as (s, target)."""
    schedule = schedule or GoalSchedule(DEADBAND)
    sent = []
    for i, target in enumerate(targets):
        now_ns = EPOCH_NS + s_to_ns(i * tick)
        if schedule.is_due(target, now_ns):
            schedule.record_sent(target, now_ns)
            sent.append((round(i * tick, 6), target))
    return sent


def test_the_first_target_is_always_sent():
    assert play([0.0] * 100) == [(0.0, 0.0)]


def test_changes_within_the_deadband_are_not_sent():
    assert play([0.5, *([0.519, 0.481, 0.51] * 100)]) == [(0.0, 0.5)]
    assert play([0.5, *([0.521] * 100)]) == [(0.0, 0.5), (0.2, 0.521)]


def test_a_slow_drift_is_sent_in_steps_of_the_deadband():
    goals = play([i / 1024 for i in range(1001)])
    assert len(goals) == 48
    assert {b - a for (_, a), (_, b) in pairwise(goals)} == {21 / 1024}


def test_a_gripper_that_closes_within_half_a_second_gets_four_goals_and_the_last_is_its_end():
    closing = [1.0 - 2.0 * 0.01 * i for i in range(51)]
    goals = play(closing + [0.0] * 100)
    assert [t for t, _ in goals] == [0.0, 0.2, 0.4, 0.6]
    assert goals[-1] == (0.6, 0.0)


def test_an_undelivered_target_is_due_again_after_the_pause():
    schedule = GoalSchedule(DEADBAND)
    schedule.record_sent(0.5, EPOCH_NS)
    schedule.record_undelivered(EPOCH_NS, 1.0)
    assert not schedule.is_due(0.5, EPOCH_NS + s_to_ns(0.9))
    assert schedule.is_due(0.5, EPOCH_NS + s_to_ns(1.0))
    schedule.record_sent(0.5, EPOCH_NS + s_to_ns(1.0))
    assert not schedule.is_due(0.5, EPOCH_NS + s_to_ns(9.0))


def test_a_forgotten_goal_is_sent_again_but_not_sooner():
    schedule = GoalSchedule(DEADBAND)
    schedule.record_sent(0.5, EPOCH_NS)
    schedule.forget()
    assert not schedule.is_due(0.5, EPOCH_NS + s_to_ns(0.19))
    assert schedule.is_due(0.5, EPOCH_NS + s_to_ns(0.2))


def test_a_jump_of_the_clock_into_the_past_does_not_block_goals():
    schedule = GoalSchedule(DEADBAND)
    schedule.record_sent(0.5, EPOCH_NS)
    assert schedule.is_due(0.7, EPOCH_NS - s_to_ns(3600.0))


_POSITIONS = st.floats(-10.0, 10.0)
_RUNS = st.lists(st.tuples(_POSITIONS, st.integers(1, 60)), min_size=1, max_size=30)


@given(runs=_RUNS, tick=st.sampled_from([0.002, 0.01, 0.033, 0.3]))
@example(runs=[(0.0, 1), (0.0201, 1), (0.0, 1)], tick=0.01)
def test_any_targets_end_within_the_deadband_with_at_most_five_goals_per_second(runs, tick):
    targets = [position for position, ticks in runs for _ in range(ticks)]
    targets += [targets[-1]] * (int(0.2 / tick) + 2)
    goals = play(targets, tick)
    assert abs(goals[-1][1] - targets[-1]) <= DEADBAND
    times = [s_to_ns(t) for t, _ in goals]
    for i, t in enumerate(times):
        assert bisect_left(times, t + s_to_ns(1.0)) - i <= 5
    for (_, a), (_, b) in pairwise(goals):
        assert abs(b - a) > DEADBAND
