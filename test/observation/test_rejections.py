# SPDX-License-Identifier: Apache-2.0
"""Every rejection is counted, but only some are logged."""

from groot_ros.observation.rejections import RejectionCounts


def test_each_reason_is_logged_once_per_quiet_time_and_always_counted():
    counts = RejectionCounts(quiet_ns=100)
    logged = [
        counts.record_rejection(reason, now)
        for now, reason in [(0, "a"), (50, "a"), (60, "b"), (100, "a")]
    ]
    assert logged == [True, False, True, True]
    assert counts.as_dict() == {"a": 3, "b": 1}


def test_waiting_for_an_instruction_is_logged_but_not_counted():
    counts = RejectionCounts(quiet_ns=100, once=("no_instruction",))
    assert [counts.record_rejection("no_instruction", now) for now in (0, 200)] == [True, False]
    assert counts.as_dict() == {}


def test_a_reason_of_once_is_logged_again_only_after_rearm():
    counts = RejectionCounts(quiet_ns=100, once=("idle",))
    assert [counts.record_rejection("idle", now) for now in (0, 1000, 2000)] == [True, False, False]
    counts.rearm()
    assert counts.record_rejection("idle", 2010)
    assert counts.as_dict() == {"idle": 4}
