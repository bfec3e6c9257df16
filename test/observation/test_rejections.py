"""Rejections are all counted and seldom told."""

from groot_ros.observation.rejections import RejectionCounts


def test_each_reason_is_told_once_per_quiet_time_and_counted_always():
    counts = RejectionCounts(quiet_ns=100)
    told = [counts.add(reason, now) for now, reason in [(0, "a"), (50, "a"), (60, "b"), (100, "a")]]
    assert told == [True, False, True, True]
    assert counts.as_dict() == {"a": 3, "b": 1}


def test_what_is_told_once_is_told_again_only_after_it_was_over():
    counts = RejectionCounts(quiet_ns=100, once=("idle",))
    assert [counts.add("idle", now) for now in (0, 1000, 2000)] == [True, False, False]
    counts.over()
    assert counts.add("idle", 2010)
    assert counts.as_dict() == {"idle": 4}
