# SPDX-License-Identifier: Apache-2.0
"""Late ticks, clock jumps, motion that must not be sent, and internal errors."""

from dataclasses import replace

import numpy as np
import pytest
from support.control_bench import (
    EPOCH_NS,
    Bench,
    excess,
    sway_chunk,
)

from groot_ros.control import ExecutorConfig
from groot_ros.core import ExecutorStatus, s_to_ns

IDLE, RUNNING, BRAKING, HOLDING, ESTOPPED = ExecutorStatus


@pytest.fixture
def bench():
    return Bench.streaming()


# The robot is at rest after 1 s and moving after 0 s.
@pytest.mark.parametrize(("before", "late"), [(1.0, 0.06), (1.0, 0.9), (0.0, 0.9)])
def test_a_tick_long_after_a_reset_sends_nothing(bench, before, late):
    bench.run(before)
    bench.executor.reset(bench.now_ns)
    count = len(bench.updates)
    bench.stall(late)
    assert len(bench.updates) == count
    assert (bench.state.status, bench.state.reason) == (IDLE, "waiting for the first chunk")
    bench.run(0.01)
    assert bench.give(bench.standing_chunk(episode=1)) is None
    assert bench.state.status == RUNNING


def test_a_stop_that_could_not_be_sent_in_time_is_rolled_back(bench):
    """The controllers follow the motion before the stop, and so does the executor."""
    sent = bench.executor.published
    bench.executor.hold(True, bench.now_ns)
    count = len(bench.updates)
    bench.stall(0.42)
    assert len(bench.updates) == count
    np.testing.assert_array_equal(bench.active.at(bench.now_ns), sent.at(bench.now_ns))
    assert (bench.state.status, bench.state.rejections) == (HOLDING, {})


def test_a_reset_that_could_not_be_sent_in_time_ends_when_the_controllers_are_at_rest():
    bench = Bench()
    bench.stream(0.6)
    rest_ns = bench.executor.motion.rest_ns
    bench.executor.reset(bench.now_ns)
    bench.stall(0.37)
    while bench.state.status == HOLDING:
        bench.run(0.01)
    assert 0 <= bench.now_ns - rest_ns < s_to_ns(0.02)


def test_a_reset_at_rest_without_splice_lead_time_is_done_immediately():
    bench = Bench(ExecutorConfig(splice_lead_time=0.0))
    bench.stream(0.6)
    bench.run(2.0)
    bench.executor.reset(bench.now_ns)
    bench.run(0.05)
    assert bench.state.status == IDLE


def test_a_late_tick_after_a_controller_fault_at_rest_can_be_resumed(bench):
    """Ticks of 30 Hz are late compared with those of the bench."""
    bench.run(0.7)
    for _ in range(20):
        bench.executor.check_controller("arm", bench.now_ns, bench.reference(j2=1.0), bench.now_ns)
        bench.stall(0.033)
        if bench.executor.state(bench.now_ns).latched:
            break
    assert bench.state.reason.startswith("controller 'arm' does not follow")
    bench.executor.resume(bench.now_ns)
    bench.run(0.1)
    assert bench.give(bench.standing_chunk()) is None


def test_discontinuous_motion_is_never_sent(bench, monkeypatch):
    def broken(now_ns, settings):
        motion = bench.executor.motion
        motion.active = replace(motion.active, positions=motion.active.positions + 0.01)
        motion.changed = True

    sent = bench.active
    monkeypatch.setattr(bench.executor.motion, "refresh", broken)
    count = len(bench.updates)
    bench.run(0.01)
    assert len(bench.updates) == count
    assert bench.active is sent
    assert bench.state.status == HOLDING
    assert bench.state.rejections == {"invalid_output_discontinuous": 1}


def test_an_internal_error_stops_smoothly_and_is_latched_counted_and_reported(bench):
    update = bench.executor.fail("ValueError in _on_tick", bench.now_ns)
    assert {t.controller for t in update.trajectories} == {"arm", "finger"}
    state = bench.state
    assert (state.status, state.rejections) == (HOLDING, {"internal_error": 1})
    assert state.reason == "internal error: ValueError in _on_tick: call resume first"
    assert max(excess(bench.active, bench.limits)) < 1e-6
    assert not update.trajectories[0].velocities[-1].any()
    assert bench.executor.fail("the next tick", bench.now_ns) is None
    bench.run(0.4)
    assert bench.give(bench.standing_chunk()).reason == "needs_resume"
    bench.run(0.2)
    bench.executor.resume(bench.now_ns)
    bench.run(0.01)
    assert bench.give(bench.standing_chunk()) is None


def test_an_internal_error_in_the_stop_leaves_the_tail_that_was_sent(bench, monkeypatch):
    def broken(*_):
        raise IndexError("no such knot")

    tail = bench.executor.published
    monkeypatch.setattr(bench.executor.motion, "brake", broken)
    with pytest.raises(IndexError):
        bench.executor.fail("the first error", bench.now_ns)
    count = len(bench.updates)
    bench.run(0.7)
    assert len(bench.updates) == count
    assert not tail.at(bench.now_ns)[1].any()
    assert "the first error" in bench.state.reason


def test_an_internal_error_before_any_motion_is_only_latched():
    bench = Bench()
    assert bench.executor.fail("too early", bench.now_ns) is None
    bench.run(0.01)
    assert bench.give(sway_chunk(bench.t)).reason == "needs_resume"


def test_a_backward_jump_of_the_clock_drops_all_motion(bench):
    bench.t = 0.1
    bench.run(0.05)
    assert bench.state.status == HOLDING
    assert "clock" in bench.state.reason
    bench.give(sway_chunk(bench.t, id=1, session="b"))
    assert bench.state.status == RUNNING
    assert bench.updates[-1][1].timeline.start_ns > EPOCH_NS + s_to_ns(0.05)


def test_a_forward_jump_of_the_clock_drops_all_motion(bench):
    bench.t += 5.0
    bench.executor.update(bench.now_ns)
    assert bench.state.status == HOLDING
    assert "5.0 s ahead" in bench.state.reason
    assert bench.give(sway_chunk(bench.t - 0.1)).reason == "before_stop"
    bench.run(0.05)
    assert bench.give(sway_chunk(bench.t)) is None
    assert bench.updates[-1][1].timeline.start_ns > bench.now_ns - s_to_ns(0.1)


def test_a_shorter_jump_that_the_caller_has_seen_drops_all_motion_and_is_not_latched(bench):
    bench.t += 0.5
    bench.executor.record_clock_jump(bench.now_ns, "the clock jumped 0.5 s ahead")
    state = bench.state
    assert (state.status, state.reason_code, state.latched) == (HOLDING, "CLOCK_JUMP", False)
    assert state.reason == "the clock jumped 0.5 s ahead: waiting for a new chunk"
    assert bench.executor.receive(sway_chunk(bench.t - 0.1), bench.now_ns).reason == "before_stop"
    bench.run(0.05)
    assert bench.give(sway_chunk(bench.t)) is None


def test_a_short_stall_is_not_a_jump_of_the_clock(bench):
    bench.t += 0.25
    bench.run(0.01)
    assert bench.state.status in (RUNNING, BRAKING)


def test_a_stall_beyond_the_end_of_all_motion_is_an_underrun_and_nothing_is_sent(bench):
    bench.t += 0.95
    count = len(bench.updates)
    bench.run(0.01)
    assert bench.state.status == HOLDING
    assert bench.state.reason == "no chunk came in time: at rest"
    assert (bench.state.underruns, bench.state.rejections) == (1, {})
    assert len(bench.updates) == count
    assert bench.give(sway_chunk(bench.t)) is None
    assert bench.state.status == RUNNING


def test_a_small_correction_of_the_clock_changes_nothing(bench):
    bench.t -= 0.02
    bench.run(0.01)
    assert bench.state.status == RUNNING


def test_motion_of_an_update_that_raises_does_not_count_as_published(bench, monkeypatch):
    def broken(*_):
        raise ZeroDivisionError

    followed = bench.executor.published
    monkeypatch.setattr("groot_ros.control.outputs.timeline_rows", broken)
    with pytest.raises(ZeroDivisionError):
        bench.give(bench.standing_chunk())
    assert bench.executor.published is followed
    monkeypatch.undo()
    stop = bench.executor.fail("ZeroDivisionError", bench.now_ns)
    assert stop is None or not stop.trajectories[0].velocities[-1].any()
    bench.run(0.7)
    assert bench.state.rejections == {"internal_error": 1}
