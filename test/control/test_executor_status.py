# SPDX-License-Identifier: Apache-2.0
"""Status, latched stops and clock jumps."""

import pytest

from groot_ros.control.executor_status import ClockMonitor, StatusTracker
from groot_ros.core import ExecutorStatus, ReasonCode, s_to_ns


@pytest.mark.parametrize(
    ("now", "status"),
    [
        (10, ExecutorStatus.RUNNING),
        (20, ExecutorStatus.BRAKING),
        (30, ExecutorStatus.HOLDING),
    ],
)
def test_motion_runs_then_brakes_then_holds(now, status):
    assert StatusTracker().status(now, 20, 30)[0] == status


def test_before_the_first_chunk_it_is_idle():
    assert StatusTracker().status(0, None, None) == (
        ExecutorStatus.IDLE,
        ReasonCode.WAITING,
        "waiting for the first chunk",
    )


def test_a_hold_is_reported_as_holding_while_moving():
    tracker = StatusTracker()
    tracker.hold = True
    assert tracker.rejection().reason == "on_hold"
    assert tracker.status(10, 20, 30)[0] == ExecutorStatus.HOLDING


def test_an_emergency_stop_has_priority_over_a_hold_and_lasts_until_resume():
    tracker = StatusTracker()
    tracker.hold = tracker.estop = True
    assert tracker.status(10, 20, 30)[0] == ExecutorStatus.ESTOPPED
    tracker.record_accepted()
    assert tracker.rejection().reason == "estopped"
    tracker.resume()
    assert tracker.rejection().reason == "on_hold"


def test_a_halt_holds_with_its_reason_until_a_chunk_is_accepted():
    tracker = StatusTracker()
    tracker.halt("joint states lost", ReasonCode.JOINT_STATES_LOST)
    assert tracker.rejection() is None
    assert tracker.status(10, 20, 30) == (
        ExecutorStatus.HOLDING,
        ReasonCode.JOINT_STATES_LOST,
        "joint states lost",
    )
    tracker.record_accepted()
    assert tracker.status(10, 20, 30)[0] == ExecutorStatus.RUNNING


def test_the_allowed_number_of_underruns_then_needs_a_resume():
    tracker = StatusTracker()
    tracker.record_underrun(2)
    assert tracker.rejection() is None
    tracker.record_underrun(2)
    assert tracker.rejection().reason == "needs_resume"
    tracker.resume()
    assert tracker.rejection() is None
    tracker.record_underrun(2)
    assert tracker.rejection() is None
    assert tracker.underruns == 3


def test_zero_allows_any_number_of_underruns():
    tracker = StatusTracker()
    for _ in range(100):
        tracker.record_underrun(0)
    assert tracker.rejection() is None


@pytest.mark.parametrize(
    ("step", "description"),
    [
        (1.0, ""),
        (-0.05, ""),
        (-0.06, "the clock went back"),
        (1.1, "the clock went 1.1 s ahead, or this process was stalled"),
    ],
)
def test_small_clock_steps_pass_and_jumps_are_reported_once(step, description):
    monitor = ClockMonitor()
    assert monitor.check_jump(s_to_ns(100.0), 0.05, 1.0) == ""
    now_ns = s_to_ns(100.0 + step)
    assert monitor.check_jump(now_ns, 0.05, 1.0) == description
    assert monitor.check_jump(now_ns + 1, 0.05, 1.0) == ""


def test_messages_may_be_unread_right_after_a_stall():
    monitor = ClockMonitor()
    at = [s_to_ns(t) for t in (10.0, 10.01, 10.51, 10.6, 10.62)]
    caught_up = []
    for now_ns in at:
        monitor.check_jump(now_ns, 0.05, 1.0)
        caught_up.append(not monitor.is_catching_up(now_ns))
    assert caught_up == [True, True, False, False, True]


def test_a_low_call_rate_is_not_a_stall():
    monitor = ClockMonitor()
    at = [s_to_ns(t) for t in (10.0, 11.0, 12.0)]
    late = []
    for now_ns in at:
        monitor.check_jump(now_ns, 0.05, 2.0)
        late.append(monitor.is_catching_up(now_ns))
    assert late == [False, True, False]
