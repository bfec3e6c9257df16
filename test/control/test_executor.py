"""What the executor admits, when it stops, and what it says of it."""

from dataclasses import replace

import numpy as np
import pytest
from control_bench import (
    ARM,
    DT,
    EPOCH_NS,
    JOINTS,
    Bench,
    chunk,
    contract,
    excess,
    sway,
    sway_chunk,
)

from groot_ros.control import ExecutorSettings, Refusal
from groot_ros.types import ExecutorStatus, s_to_ns

IDLE, RUNNING, COASTING, HOLDING, ESTOPPED = ExecutorStatus


@pytest.fixture
def bench():
    running = Bench()
    running.stream(0.6)
    return running


def speed(bench):
    return np.abs(bench.sent.at(bench.now_ns)[1]).max()


def still(bench):
    return speed(bench) == 0.0


def test_it_is_idle_and_silent_until_the_first_chunk():
    bench = Bench()
    bench.run(0.5)
    assert bench.state.status == IDLE
    assert bench.updates == []
    assert bench.executor.stop(bench.now_ns) is None


def test_it_runs_and_reports_where_in_the_chunk_it_is(bench):
    bench.give(sway_chunk(bench.t - 0.1))
    state = bench.state
    assert state.status == RUNNING
    assert state.session == "a"
    assert state.step == pytest.approx(3.0)
    assert state.chunk_age == pytest.approx(0.1)
    assert state.time_to_tail == pytest.approx(0.4)
    assert (state.received, state.accepted) == (4, 4)


def test_without_a_new_chunk_it_coasts_to_rest_and_says_so(bench):
    bench.run(0.22)
    assert bench.state.status == COASTING
    assert bench.state.starvations == 1
    bench.run(0.3)
    assert bench.state.status == HOLDING
    assert "at rest" in bench.state.reason
    assert still(bench)


def test_a_chunk_that_comes_during_the_tail_is_taken_up_smoothly(bench):
    bench.run(0.35)
    assert bench.state.status == COASTING
    assert bench.give(sway_chunk(bench.t - 0.05)) is None
    assert bench.state.status == RUNNING
    assert max(excess(bench.sent, bench.limits)) < 1e-6


def test_too_many_starvations_need_a_resume():
    bench = Bench(ExecutorSettings(max_starvations=2))
    for _ in range(2):
        bench.give(sway_chunk(bench.t))
        bench.run(1.0)
    assert bench.state.status == HOLDING
    assert "resume" in bench.state.reason
    assert bench.give(sway_chunk(bench.t)).reason == "needs_resume"
    bench.executor.resume(bench.now_ns)
    bench.run(0.1)
    assert bench.give(sway_chunk(bench.t)) is None


def test_a_hold_stops_smoothly_and_its_release_waits_for_a_new_chunk(bench):
    bench.executor.hold(True, bench.now_ns)
    assert bench.state.status == HOLDING
    assert bench.state.hold
    bench.run(0.02)
    assert bench.give(sway_chunk(bench.t)).reason == "on_hold"
    assert max(excess(bench.sent, bench.limits)) < 1e-6
    bench.run(0.4)
    assert still(bench)
    seen_during_the_hold = sway_chunk(bench.t - 0.01)
    bench.executor.hold(False, bench.now_ns)
    assert bench.give(seen_during_the_hold).reason == "before_stop"
    bench.run(0.1)
    assert still(bench)
    assert bench.give(sway_chunk(bench.t)) is None
    assert bench.state.status == RUNNING


def test_holding_twice_is_holding_once(bench):
    bench.executor.hold(True, bench.now_ns)
    bench.run(0.02)
    count = len(bench.updates)
    bench.executor.hold(True, bench.now_ns)
    bench.run(0.02)
    assert len(bench.updates) == count


def test_an_emergency_stop_is_the_hardest_allowed_and_latched(bench):
    fast = speed(bench)
    bench.executor.estop(bench.now_ns)
    bench.run(0.02 + 0.017 + fast / 15.0 + 0.01)
    assert still(bench)
    assert max(excess(bench.sent, bench.limits)) < 1e-6
    assert bench.state.status == ESTOPPED
    assert bench.state.estop
    assert bench.give(sway_chunk(bench.t)).reason == "estopped"
    bench.executor.resume(bench.now_ns)
    assert bench.state.status == HOLDING
    bench.run(0.05)
    assert bench.give(sway_chunk(bench.t)) is None


def test_a_stop_in_progress_is_not_drawn_out_by_another_one(bench):
    bench.executor.hold(True, bench.now_ns)
    rest_ns = bench.executor._motion.rest_ns
    for _ in range(4):
        bench.run(0.05)
        bench.executor.stop(bench.now_ns)
    assert abs(bench.executor._motion.rest_ns - rest_ns) < s_to_ns(1e-3)


def test_nothing_softens_an_emergency_stop(bench):
    fast = speed(bench)
    bench.executor.estop(bench.now_ns)
    bench.executor.stop(bench.now_ns)
    bench.run(0.02 + 0.017 + fast / 15.0 + 0.01)
    assert still(bench)


def test_a_stop_hands_back_what_to_publish_and_ends_at_rest(bench):
    update = bench.executor.stop(bench.now_ns)
    assert {t.controller for t in update.trajectories} == {"arm", "finger"}
    for trajectory in update.trajectories:
        assert trajectory.stamp_ns < bench.now_ns < trajectory.end_ns
        assert not trajectory.velocities[-1].any()
    assert not update.timeline.velocities[-1].any()
    bench.run(0.4)
    assert still(bench)


def test_an_empty_instruction_stops_and_ends_that_instruction(bench):
    assert bench.executor.instruct("pick the cube", bench.now_ns) is None
    assert bench.executor.instruct("  ", bench.now_ns) is not None
    bench.run(0.4)
    assert still(bench)
    assert bench.state.status == HOLDING
    assert bench.give(sway_chunk(bench.t)).reason == "instruction_ended"
    assert bench.give(sway_chunk(bench.t, instruction_id=1)) is None


def test_another_instruction_keeps_what_is_sent_and_the_frozen_steps_of_the_old():
    bench = Bench()
    bench.give(sway_chunk(0.0, instruction="pick", instruction_id=1, frozen_steps=12))
    bench.run(0.02)
    bench.executor.instruct("place", bench.now_ns)
    assert bench.state.time_to_tail == pytest.approx(12 * DT, abs=DT)
    bench.run(0.1)
    assert bench.give(sway_chunk(bench.t, instruction_id=1)).reason == "instruction_ended"
    bench.run(0.9)
    assert (bench.state.status, bench.state.starvations) == (HOLDING, 0)
    assert "instruction changed" in bench.state.reason
    assert bench.give(sway_chunk(bench.t, instruction="place", instruction_id=2)) is None
    assert bench.state.status == RUNNING


def test_without_frozen_steps_another_instruction_keeps_only_what_is_sent():
    bench = Bench()
    bench.give(sway_chunk(0.0, instruction="pick", instruction_id=1))
    sent = bench.sent
    bench.executor.instruct("place", bench.now_ns)
    assert bench.state.time_to_tail == pytest.approx(0.3, abs=DT)
    bench.run(1.0)
    np.testing.assert_array_equal(bench.sent.positions[-1], sent.positions[-1])


@pytest.mark.parametrize("before", [(), ("",)])
def test_at_rest_too_another_instruction_ends_the_old_one(before):
    bench = Bench()
    bench.give(sway_chunk(0.0, instruction="pick", instruction_id=1))
    bench.run(1.5)
    for words in (*before, "place"):
        bench.executor.instruct(words, bench.now_ns)
    bench.run(0.05)
    old = standing_chunk(bench, instruction="pick", instruction_id=1)
    assert bench.give(old).reason == "instruction_ended"
    assert bench.state.status == HOLDING
    assert bench.give(standing_chunk(bench, instruction="place", instruction_id=2)) is None


def test_the_same_instruction_again_changes_nothing():
    bench = Bench()
    bench.give(sway_chunk(0.0, instruction="pick", instruction_id=1))
    before = bench.state.time_to_tail
    bench.executor.instruct(" pick ", bench.now_ns)
    assert bench.state.time_to_tail == before
    assert bench.give(sway_chunk(0.0, instruction="pick", instruction_id=1)) is None


def test_single_step_executes_one_chunk_to_its_end_for_each_step():
    bench = Bench(ExecutorSettings(single_step=True))
    assert bench.give(sway_chunk(0.0)).reason == "awaiting_step"
    for _ in range(2):
        bench.executor.step(bench.now_ns)
        assert bench.give(sway_chunk(bench.t)).reason == "before_stop"
        bench.run(0.01)
        assert bench.give(sway_chunk(bench.t)) is None
        bench.run(0.1)
        assert bench.give(sway_chunk(bench.t)).reason == "awaiting_step"
        bench.run(1.0)
        assert (bench.state.status, bench.state.starvations) == (HOLDING, 0)
        assert "single step" in bench.state.reason
        assert still(bench)


def test_a_reset_stops_forgets_and_starts_from_the_measured_state(bench):
    bench.executor.reset(bench.now_ns)
    bench.run(0.02)
    timeline = bench.updates[-1][1].timeline
    assert timeline.chunk_id == 0
    assert timeline.start_ns > bench.now_ns - s_to_ns(0.05)
    bench.run(0.5)
    assert bench.state.status == IDLE
    bench.follows = False
    bench.measured = sway(bench.t) + 0.2
    assert bench.give(sway_chunk(bench.t)) is None
    np.testing.assert_allclose(bench.sent.positions[0], bench.measured)


def test_a_reset_says_so_until_it_is_done(bench):
    bench.executor.reset(bench.now_ns)
    bench.run(0.05)
    assert (bench.state.status, bench.state.reason) == (HOLDING, "reset: waiting for a new chunk")
    bench.run(0.5)
    assert (bench.state.status, bench.state.reason) == (IDLE, "waiting for the first chunk")


def test_a_stop_during_a_reset_keeps_its_own_reason(bench):
    bench.executor.reset(bench.now_ns)
    bench.run(0.05)
    bench.executor.stop(bench.now_ns, "no instruction")
    bench.run(0.5)
    assert bench.state.reason == "no instruction"


def stall(bench, seconds):
    """The clock goes on, nobody ticks; then one tick."""
    bench.t = round(bench.t + seconds, 6)
    bench.observe()
    bench._update()


def standing_chunk(bench, **fields):
    """What asks the robot to stay where it is."""
    return chunk(np.tile(bench.measured, (16, 1)), bench.t, **fields)


@pytest.mark.parametrize(("before", "late"), [(1.0, 0.06), (1.0, 0.9), (0.0, 0.9)])
def test_a_tick_long_after_a_reset_finds_nothing_left_to_send(bench, before, late):
    """At rest, and moving."""
    bench.run(before)
    bench.executor.reset(bench.now_ns)
    count = len(bench.updates)
    stall(bench, late)
    assert len(bench.updates) == count
    assert (bench.state.status, bench.state.reason) == (IDLE, "waiting for the first chunk")
    bench.run(0.01)
    assert bench.give(standing_chunk(bench, episode=1)) is None
    assert bench.state.status == RUNNING


def test_a_stop_that_came_too_late_to_be_sent_is_no_motion_to_leave(bench):
    """The controllers are still on the motion before it, and so is the executor."""
    sent = bench.executor._outputs.published
    bench.executor.hold(True, bench.now_ns)
    count = len(bench.updates)
    stall(bench, 0.42)
    assert len(bench.updates) == count
    np.testing.assert_array_equal(bench.sent.at(bench.now_ns), sent.at(bench.now_ns))
    assert (bench.state.status, bench.state.refusals) == (HOLDING, {})


def test_a_reset_that_came_too_late_to_be_sent_is_done_when_the_controllers_are():
    bench = Bench()
    bench.stream(0.6)
    rest_ns = bench.executor._motion.rest_ns
    bench.executor.reset(bench.now_ns)
    stall(bench, 0.37)
    while bench.state.status == HOLDING:
        bench.run(0.01)
    assert 0 <= bench.now_ns - rest_ns < s_to_ns(0.02)


def test_a_reset_at_rest_without_any_lead_is_done_at_once():
    bench = Bench(ExecutorSettings(lead=0.0))
    bench.stream(0.6)
    bench.run(2.0)
    bench.executor.reset(bench.now_ns)
    bench.run(0.05)
    assert bench.state.status == IDLE


def test_a_distrusted_controller_at_rest_and_a_late_tick_are_a_stop_like_any_other(bench):
    """As a timer of 30 Hz has it."""
    bench.run(0.7)
    for _ in range(20):
        bench.executor.watch_controller("arm", bench.now_ns, reference(bench, j2=1.0), bench.now_ns)
        stall(bench, 0.033)
        if bench.executor._watchdog.locked:
            break
    assert bench.state.reason.startswith("controller 'arm' does not follow")
    bench.executor.resume(bench.now_ns)
    bench.run(0.1)
    assert bench.give(standing_chunk(bench)) is None


def test_an_internal_error_is_a_bounded_stop_latched_counted_and_told(bench):
    update = bench.executor.fail("ValueError in _on_tick", bench.now_ns)
    assert {t.controller for t in update.trajectories} == {"arm", "finger"}
    state = bench.state
    assert (state.status, state.refusals) == (HOLDING, {"internal_error": 1})
    assert state.reason == "internal error: ValueError in _on_tick: call resume first"
    assert max(excess(bench.sent, bench.limits)) < 1e-6
    assert not update.trajectories[0].velocities[-1].any()
    assert bench.executor.fail("the next tick", bench.now_ns) is None
    bench.run(0.4)
    assert bench.give(standing_chunk(bench)).reason == "needs_resume"
    bench.run(0.2)
    bench.executor.resume(bench.now_ns)
    bench.run(0.01)
    assert bench.give(standing_chunk(bench)) is None


def test_an_internal_error_in_the_stop_itself_leaves_the_tail_that_was_sent(bench, monkeypatch):
    def broken(*_):
        raise IndexError("no such knot")

    tail = bench.executor._outputs.published
    monkeypatch.setattr(bench.executor._motion, "brake", broken)
    with pytest.raises(IndexError):
        bench.executor.fail("the first error", bench.now_ns)
    count = len(bench.updates)
    bench.run(0.7)
    assert len(bench.updates) == count
    assert not tail.at(bench.now_ns)[1].any()
    assert "the first error" in bench.state.reason


def test_an_internal_error_before_any_motion_only_latches():
    bench = Bench()
    assert bench.executor.fail("too early", bench.now_ns) is None
    bench.run(0.01)
    assert bench.give(sway_chunk(bench.t)).reason == "needs_resume"


def test_a_policy_that_ended_its_session_may_begin_another_at_once(bench):
    bench.run(0.1)
    refusal = bench.give(sway_chunk(bench.t, session="b", id=1))
    assert refusal.reason == "second_policy"
    bench.executor.end_session("somebody else's")
    assert bench.give(sway_chunk(bench.t, session="b", id=1)).reason == "second_policy"
    bench.executor.end_session("a")
    assert bench.give(sway_chunk(bench.t, session="b", id=1)) is None


def test_a_number_that_nothing_could_follow_is_refused_and_the_session_goes_on(bench):
    assert bench.give(sway_chunk(bench.t, id=2**52)).reason == "out_of_order"
    assert bench.give(sway_chunk(bench.t)) is None


def reference(bench, **changed):
    where = dict(zip(JOINTS, bench.sent.at(bench.now_ns)[0].tolist(), strict=True))
    return {**where, **changed}


def test_a_controller_elsewhere_than_sent_stops_motion_until_somebody_looks(bench):
    for _ in range(10):
        assert bench.give(sway_chunk(bench.t)) is None
        elsewhere = reference(bench, j2=bench.sent.at(bench.now_ns)[0][1] + 0.1)
        stop = bench.executor.watch_controller("arm", bench.now_ns, elsewhere, bench.now_ns)
        if bench.state.status == HOLDING:
            break
        bench.run(0.1)
    assert bench.state.reason.startswith("controller 'arm' does not follow: j2 was sent")
    assert stop is not None
    bench.run(0.01)
    assert bench.give(sway_chunk(bench.t)).reason == "needs_resume"
    assert not stop.trajectories[0].velocities[-1].any()
    bench.run(0.5)
    bench.executor.resume(bench.now_ns)
    bench.run(0.01)
    assert bench.give(sway_chunk(bench.t)) is None


def test_a_controller_that_follows_or_is_not_commanded_is_no_matter(bench):
    for _ in range(10):
        assert bench.give(sway_chunk(bench.t)) is None
        bench.executor.watch_controller("arm", bench.now_ns, reference(bench), bench.now_ns)
        bench.run(0.1)
    assert bench.state.status == RUNNING
    bench.run(4.0)
    for _ in range(10):
        elsewhere = reference(bench, j2=1.0)
        bench.executor.watch_controller("arm", bench.now_ns, elsewhere, bench.now_ns)
        bench.run(0.1)
    assert bench.state.reason == "no chunk came in time: at rest"


def test_a_robot_moved_by_hand_long_after_a_stop_is_taken_where_it_is(bench):
    bench.executor.hold(True, bench.now_ns)
    bench.run(3.0)
    bench.follows = False
    bench.measured = np.add(bench.measured, [0.2, 0.0, 0.0, 0.0])
    bench.run(0.1)
    bench.executor.hold(False, bench.now_ns)
    bench.run(0.01)
    assert bench.give(sway_chunk(bench.t)) is None
    np.testing.assert_allclose(bench.sent.positions[0], bench.measured)


def test_a_robot_that_sags_a_little_is_not_let_down_further(bench):
    bench.executor.hold(True, bench.now_ns)
    bench.run(3.0)
    bench.follows = False
    commanded = bench.measured
    bench.measured = np.add(bench.measured, [0.05, 0.0, 0.0, 0.0])
    bench.run(0.1)
    bench.executor.hold(False, bench.now_ns)
    bench.run(0.01)
    assert bench.give(sway_chunk(bench.t)) is None
    np.testing.assert_allclose(bench.sent.at(bench.now_ns)[0], commanded)


def test_a_chunk_right_after_a_reset_leaves_the_stopping_motion_smoothly(bench):
    bench.executor.reset(bench.now_ns)
    bench.run(0.02)
    assert bench.give(sway_chunk(bench.t, episode=1)) is None
    bench.run(0.3)
    assert bench.state.status == RUNNING
    assert max(excess(bench.sent, bench.limits)) < 1e-6


def test_starting_anew_takes_the_robot_where_it_is_but_keeps_a_latched_stop(bench):
    bench.executor.stop(bench.now_ns)
    bench.run(0.5)
    bench.executor.estop(bench.now_ns)
    bench.executor.start(bench.now_ns)
    count = len(bench.updates)
    bench.run(0.1)
    assert len(bench.updates) == count
    assert bench.state.status == ESTOPPED
    bench.executor.resume(bench.now_ns)
    bench.measured = sway(bench.t) + 0.2
    bench.run(0.1)
    assert bench.give(sway_chunk(bench.t)) is None
    np.testing.assert_allclose(bench.sent.positions[0], bench.measured)


def test_lost_joint_states_stop_the_motion_and_their_return_ends_that():
    bench = Bench(ExecutorSettings(max_chunk_age=3.0))
    bench.give(sway_chunk(0.0, steps=90))
    bench.reports = False
    bench.run(0.51)
    assert bench.state.status == HOLDING
    assert "j1 was last heard of" in bench.state.reason
    bench.run(0.4)
    assert still(bench)
    assert bench.give(sway_chunk(bench.t)) is None


def test_no_chunk_is_executed_without_fresh_joint_states():
    bench = Bench()
    assert bench.executor.receive(sway_chunk(0.0, id=1), EPOCH_NS).reason == "no_joint_state"
    bench.observe()
    late = EPOCH_NS + s_to_ns(0.6)
    refusal = bench.executor.receive(sway_chunk(0.5, id=2), late)
    assert refusal.reason == "stale_joint_state"


def test_joint_states_from_the_future_mean_that_clocks_disagree():
    bench = Bench()
    bench.executor.observe(EPOCH_NS + s_to_ns(1.0), list(JOINTS), [0.0] * 4, [])
    assert bench.executor.receive(sway_chunk(0.0, id=1), EPOCH_NS).reason == "clocks_disagree"


def test_malformed_joint_states_are_counted():
    bench = Bench()
    assert bench.executor.observe(EPOCH_NS, list(JOINTS), [0.0], []).reason == "bad_joint_state"
    assert bench.state.refusals == {"bad_joint_state": 1}


def test_a_jump_of_the_clock_backwards_forgets_everything(bench):
    bench.t = 0.1
    bench.run(0.05)
    assert bench.state.status == HOLDING
    assert "clock" in bench.state.reason
    bench.give(sway_chunk(bench.t, id=1, session="b"))
    assert bench.state.status == RUNNING
    assert bench.updates[-1][1].timeline.start_ns > EPOCH_NS + s_to_ns(0.05)


def test_a_jump_of_the_clock_ahead_forgets_everything(bench):
    bench.t += 5.0
    bench.executor.update(bench.now_ns)
    assert bench.state.status == HOLDING
    assert "5.0 s ahead" in bench.state.reason
    assert bench.give(sway_chunk(bench.t - 0.1)).reason == "before_stop"
    bench.run(0.05)
    assert bench.give(sway_chunk(bench.t)) is None
    assert bench.updates[-1][1].timeline.start_ns > bench.now_ns - s_to_ns(0.1)


def test_a_short_stall_is_not_a_jump_of_the_clock(bench):
    bench.t += 0.25
    bench.run(0.01)
    assert bench.state.status in (RUNNING, COASTING)


def test_a_stall_beyond_the_end_of_all_motion_is_a_starvation_and_nothing_is_sent(bench):
    bench.t += 0.95
    count = len(bench.updates)
    bench.run(0.01)
    assert bench.state.status == HOLDING
    assert bench.state.reason == "no chunk came in time: at rest"
    assert (bench.state.starvations, bench.state.refusals) == (1, {})
    assert len(bench.updates) == count
    assert bench.give(sway_chunk(bench.t)) is None
    assert bench.state.status == RUNNING


def test_a_small_correction_of_the_clock_changes_nothing(bench):
    bench.t -= 0.02
    bench.run(0.01)
    assert bench.state.status == RUNNING


def test_a_chunk_far_from_the_measured_state_is_refused_naming_the_joint(bench):
    values = sway(bench.t + np.arange(16) / 30)
    values[:, 1] += 0.6
    refusal = bench.give(chunk(values, bench.t))
    assert refusal.reason == "jump"
    assert ARM[1] in refusal.detail
    assert bench.state.status == RUNNING
    values[:, 1] -= 0.6
    values[:, 3] += 0.9
    assert bench.give(chunk(values, bench.t)) is None


def test_a_refused_first_chunk_leaves_it_idle():
    bench = Bench(start=[0.9, 0.9, 0.9, 0.0])
    assert bench.give(sway_chunk(0.0)).reason == "jump"
    assert bench.state.status == IDLE
    assert bench.updates == []


def test_a_robot_that_does_not_follow_is_not_driven_on(bench):
    bench.follows = False
    bench.run(1.0)
    bench.measured = bench.measured + 0.6
    values = np.tile(bench.measured, (16, 1))
    assert bench.give(chunk(values, bench.t)).reason == "not_following"


def test_a_robot_that_stands_while_commanded_is_stopped_until_somebody_looks():
    """A controller that refuses says nothing on its topic."""
    bench = Bench()
    bench.follows = False
    fast = np.cumsum(np.full((31, 4), 0.04), axis=0) + sway(0.0) - 0.04
    assert bench.give(chunk(fast, 0.0)) is None
    while bench.state.status == RUNNING:
        bench.run(0.01)
    assert bench.t < 1.0
    assert bench.state.status == HOLDING
    assert "does not follow" in bench.state.reason
    assert "call resume" in bench.state.reason
    bench.run(0.7)
    assert bench.give(sway_chunk(bench.t)).reason == "needs_resume"
    bench.executor.resume(bench.now_ns)
    bench.run(0.01)
    assert bench.give(chunk(np.tile(bench.measured, (16, 1)), bench.t)) is None
    np.testing.assert_allclose(bench.sent.positions[0], bench.measured)


def test_a_robot_found_elsewhere_right_after_a_stop_is_not_driven_on(bench):
    bench.follows = False
    bench.executor.hold(True, bench.now_ns)
    bench.measured = np.add(bench.measured, [0.4, 0.0, 0.0, 0.0])
    bench.run(1.0)
    bench.executor.hold(False, bench.now_ns)
    bench.run(0.01)
    assert bench.give(sway_chunk(bench.t)).reason == "needs_resume"


def test_a_robot_moved_by_hand_long_after_a_stop_is_no_fault(bench):
    bench.executor.hold(True, bench.now_ns)
    bench.run(3.0)
    bench.follows = False
    bench.measured = np.add(bench.measured, [0.4, 0.0, 0.0, 0.0])
    bench.run(2.0)
    bench.executor.hold(False, bench.now_ns)
    assert bench.state.reason == "released: waiting for a new chunk"


def test_a_gripper_that_holds_something_may_stay_behind(bench):
    bench.follows = False
    for _ in range(10):
        bench.measured = bench.sent.at(bench.now_ns)[0] + [0.0, 0.0, 0.0, 0.9]
        assert bench.give(sway_chunk(bench.t)) is None
        bench.run(0.01)
        bench.t = round(bench.t + 0.1, 6)
    assert bench.state.status == RUNNING


@pytest.mark.parametrize(
    ("start", "velocity"),
    [
        ([1.45, 0.0, 0.0, 0.0], [2.0, 0.0, 0.0, 0.0]),
        ([0.0, 0.0, 0.0, 0.0], [0.0, 3.5, 0.0, 0.0]),
    ],
)
def test_a_measured_state_that_cannot_stop_in_time_gets_the_hardest_stop(start, velocity):
    bench = Bench(start=start, velocity=velocity)
    assert bench.give(sway_chunk(0.0)).reason == "not_viable"
    assert bench.state.status == HOLDING
    assert len(bench.updates) == 1
    stop = bench.sent
    assert excess(stop, bench.limits)[2] < 1e-6
    fastest = int(np.argmax(np.abs(velocity)))
    duration = abs(velocity[fastest]) / 15.0
    assert not stop.at(EPOCH_NS + s_to_ns(duration + 1e-4))[1].any()
    assert stop.at(EPOCH_NS + s_to_ns(duration - 1e-3))[1][fastest] > 0
    assert bench.give(sway_chunk(bench.t)) is not None


def test_resting_outside_the_limits_is_not_moved_and_can_be_mended_by_hand():
    bench = Bench(start=[1.6, 0.0, 0.0, 0.0])
    assert bench.give(sway_chunk(0.0)).reason == "not_viable"
    assert (bench.state.status, bench.updates) == (HOLDING, [])
    assert ARM[0] in bench.state.reason
    bench.measured = sway(0.0)
    bench.run(0.05)
    assert bench.give(sway_chunk(bench.t)) is None
    assert bench.state.status == RUNNING


def test_resting_a_hair_outside_the_limits_counts_as_on_the_limit():
    bench = Bench(ExecutorSettings(max_start_jump=9.0), start=[1.515, 0.0, 0.0, 0.0])
    assert bench.give(sway_chunk(0.0)) is None
    assert bench.sent.positions[0][0] == 1.5


def test_a_trembling_encoder_does_not_count_as_motion():
    bench = Bench(velocity=[0.04, -0.04, 0.0, 0.0])
    bench.give(sway_chunk(0.0))
    assert not bench.sent.velocities[0].any()


def test_a_chunk_with_nothing_left_to_execute_is_too_late(bench):
    assert bench.give(sway_chunk(bench.t - 0.55)).reason == "too_late"
    assert bench.state.status == RUNNING


def test_refusals_are_counted_by_reason(bench):
    bench.give(sway_chunk(bench.t, session="b"))
    bench.give(sway_chunk(bench.t - 5.0))
    bench.executor.refuse_chunk(Refusal("non_finite", "the chunk holds NaN"))
    assert bench.state.refusals == {"non_finite": 1, "second_policy": 1, "too_old": 1}
    assert (bench.state.received, bench.state.accepted) == (6, 3)


def test_limit_hits_count_chunks_per_joint(bench):
    before = bench.state.limit_hits
    values = sway(bench.t + np.arange(16) / 30)
    values[8:, 2] += 0.4
    bench.give(chunk(values, bench.t))
    assert tuple(np.subtract(bench.state.limit_hits, before)) == (0, 0, 1, 0)


def test_in_shadow_everything_is_reported_and_nothing_commanded():
    bench = Bench(ExecutorSettings(shadow=True))
    bench.follows = False
    for _ in range(3):
        assert bench.give(sway_chunk(bench.t)) is None
        bench.run(0.2)
    assert bench.state.shadow
    assert bench.state.accepted == 3
    assert bench.updates
    assert all(u.trajectories == () for _, u in bench.updates)
    assert bench.executor.commands(bench.now_ns) == ()


def test_forward_controllers_are_streamed_the_motion_in_force_until_it_rests():
    robot = contract(type="forward_command_controller", topic="arm/commands")
    bench = Bench(robot=robot)
    assert bench.executor.commands(bench.now_ns) == ()
    bench.stream(0.6)
    assert {t.controller for t in bench.updates[-1][1].trajectories} == {"finger"}
    ((controller, positions),) = bench.executor.commands(bench.now_ns)
    assert controller.name == "arm"
    np.testing.assert_allclose(positions, bench.sent.at(bench.now_ns)[0][[2, 1, 0]])
    bench.run(2.0)
    assert bench.executor.commands(bench.now_ns) == ()


def test_only_driven_joints_are_its_business():
    robot = contract()
    one = replace(robot, controllers=robot.controllers[1:])
    assert Bench(robot=one).executor.joint_names == ("finger",)


def test_motion_that_would_step_is_never_sent(bench, monkeypatch):
    def broken(now_ns, settings):
        motion = bench.executor._motion
        motion.sent = replace(motion.sent, positions=motion.sent.positions + 0.01)
        return True

    sent = bench.sent
    monkeypatch.setattr(bench.executor._motion, "refresh", broken)
    count = len(bench.updates)
    bench.run(0.01)
    assert len(bench.updates) == count
    assert bench.sent is sent
    assert bench.state.status == HOLDING
    assert bench.state.refusals == {"unsendable_step": 1}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("commit_horizon", 0.0),
        ("blend_window", -0.1),
        ("max_chunk_age", float("nan")),
        ("limits_scale", 1.5),
        ("lead", 0.4),
        ("lookback", 2.0),
    ],
)
def test_settings_out_of_range_are_refused_by_name(field, value):
    with pytest.raises(ValueError, match=field):
        ExecutorSettings(**{field: value})
