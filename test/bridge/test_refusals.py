"""Refusals are all counted and seldom told."""

from groot_ros.bridge.refusals import RefusalCounts


def test_each_reason_is_told_once_per_quiet_time_and_counted_always():
    counts = RefusalCounts(quiet_ns=100)
    told = [counts.add(reason, now) for now, reason in [(0, "a"), (50, "a"), (60, "b"), (100, "a")]]
    assert told == [True, False, True, True]
    assert counts.as_dict() == {"a": 3, "b": 1}
