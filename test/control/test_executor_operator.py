# SPDX-License-Identifier: Apache-2.0
"""Requests of the operator: hold, emergency stop, instructions, single steps, reset."""

import numpy as np
import pytest
from support.control_bench import (
    DT,
    Bench,
    excess,
    sway,
    sway_chunk,
)

from groot_ros.control import ExecutorConfig
from groot_ros.core import ExecutorStatus, s_to_ns

IDLE, RUNNING, BRAKING, HOLDING, ESTOPPED = ExecutorStatus


@pytest.fixture
def bench():
    return Bench.streaming()


def test_a_hold_stops_smoothly_and_its_release_waits_for_a_new_chunk(bench):
    bench.executor.hold(True, bench.now_ns)
    assert bench.state.status == HOLDING
    assert bench.state.hold
    bench.run(0.02)
    assert bench.give(sway_chunk(bench.t)).reason == "on_hold"
    assert max(excess(bench.active, bench.limits)) < 1e-6
    bench.run(0.4)
    assert bench.at_rest
    observed_during_the_hold = sway_chunk(bench.t - 0.01)
    bench.executor.hold(False, bench.now_ns)
    assert bench.give(observed_during_the_hold).reason == "before_stop"
    bench.run(0.1)
    assert bench.at_rest
    assert bench.give(sway_chunk(bench.t)) is None
    assert bench.state.status == RUNNING


def test_a_second_hold_changes_nothing(bench):
    bench.executor.hold(True, bench.now_ns)
    bench.run(0.02)
    count = len(bench.updates)
    bench.executor.hold(True, bench.now_ns)
    bench.run(0.02)
    assert len(bench.updates) == count


def test_an_emergency_stop_is_the_hardest_within_limits_and_latched(bench):
    fast = bench.speed
    bench.executor.estop(bench.now_ns)
    bench.run(0.02 + 0.017 + fast / 15.0 + 0.01)
    assert bench.at_rest
    assert max(excess(bench.active, bench.limits)) < 1e-6
    assert bench.state.status == ESTOPPED
    assert bench.state.estop
    assert bench.give(sway_chunk(bench.t)).reason == "estopped"
    bench.executor.resume(bench.now_ns)
    assert bench.state.status == HOLDING
    bench.run(0.05)
    assert bench.give(sway_chunk(bench.t)) is None


def test_a_stop_in_progress_is_not_prolonged_by_another_one(bench):
    bench.executor.hold(True, bench.now_ns)
    rest_ns = bench.executor.motion.rest_ns
    for _ in range(4):
        bench.run(0.05)
        bench.executor.stop(bench.now_ns)
    assert abs(bench.executor.motion.rest_ns - rest_ns) < s_to_ns(1e-3)


def test_a_normal_stop_does_not_prolong_an_emergency_stop(bench):
    fast = bench.speed
    bench.executor.estop(bench.now_ns)
    bench.executor.stop(bench.now_ns)
    bench.run(0.02 + 0.017 + fast / 15.0 + 0.01)
    assert bench.at_rest


def test_a_stop_returns_messages_that_end_at_rest(bench):
    update = bench.executor.stop(bench.now_ns)
    assert {t.controller for t in update.trajectories} == {"arm", "finger"}
    for trajectory in update.trajectories:
        assert trajectory.stamp_ns < bench.now_ns < trajectory.end_ns
        assert not trajectory.velocities[-1].any()
    assert not update.timeline.velocities[-1].any()
    bench.run(0.4)
    assert bench.at_rest


def test_an_empty_instruction_stops_and_ends_that_instruction(bench):
    assert bench.executor.instruct("pick the cube", bench.now_ns) is None
    assert bench.executor.instruct("  ", bench.now_ns) is not None
    bench.run(0.4)
    assert bench.at_rest
    assert bench.state.status == HOLDING
    assert bench.give(sway_chunk(bench.t)).reason == "instruction_ended"
    assert bench.give(sway_chunk(bench.t, instruction_id=1)) is None


def test_a_stop_ends_an_instruction_that_has_no_chunk_yet(bench):
    bench.executor.announce_instruction("a", "place", 1)
    bench.executor.instruct("place", bench.now_ns, 1)
    bench.executor.instruct("", bench.now_ns)
    bench.run(0.4)
    late = sway_chunk(bench.t, instruction="place", instruction_id=1)
    assert bench.give(late).reason == "instruction_ended"
    assert bench.at_rest
    # The policy, which the stop did not reach, announces it again when it is given again.
    bench.executor.announce_instruction("a", "place", 1)
    bench.executor.instruct("place", bench.now_ns, 1)
    again = bench.standing_chunk(instruction="place", instruction_id=1)
    assert bench.give(again) is None


def test_an_instruction_that_was_stopped_stays_ended_when_the_clock_jumps():
    bench = Bench()
    bench.executor.announce_instruction("a", "pick", 1)
    assert bench.give(sway_chunk(0.0, instruction="pick", instruction_id=1)) is None
    bench.executor.instruct("", bench.now_ns)
    bench.run(1.0)
    bench.executor.record_clock_jump(bench.now_ns, "the clock jumped")
    bench.run(0.1)
    late = bench.standing_chunk(instruction="pick", instruction_id=1, id=5)
    assert bench.give(late).reason == "instruction_ended"
    assert bench.state.status != RUNNING


@pytest.mark.parametrize(("given_again", "number"), [(True, 1), (False, 3)])
def test_a_stop_before_the_first_chunk_of_a_session_ends_its_instruction(given_again, number):
    bench = Bench()
    bench.executor.announce_instruction("a", "pick", 1)
    bench.executor.instruct("", bench.now_ns)
    bench.run(0.1)
    first = bench.standing_chunk(instruction="pick", instruction_id=1)
    assert bench.give(first).reason == "instruction_ended"
    assert bench.state.status != RUNNING
    if given_again:
        bench.executor.announce_instruction("a", "pick", number)
    assert bench.give(bench.standing_chunk(instruction="pick", instruction_id=number)) is None


def test_a_new_instruction_keeps_sent_motion_and_frozen_steps_of_the_old_one():
    bench = Bench()
    bench.give(sway_chunk(0.0, instruction="pick", instruction_id=1, frozen_steps=12))
    bench.run(0.02)
    bench.executor.instruct("place", bench.now_ns)
    assert bench.state.time_until_braking == pytest.approx(12 * DT, abs=DT)
    bench.run(0.1)
    assert bench.give(sway_chunk(bench.t, instruction_id=1)).reason == "instruction_ended"
    bench.run(0.9)
    assert (bench.state.status, bench.state.underruns) == (HOLDING, 0)
    assert "instruction changed" in bench.state.reason
    assert bench.give(sway_chunk(bench.t, instruction="place", instruction_id=2)) is None
    assert bench.state.status == RUNNING


def test_without_frozen_steps_a_new_instruction_keeps_only_sent_motion():
    bench = Bench()
    bench.give(sway_chunk(0.0, instruction="pick", instruction_id=1))
    sent = bench.active
    bench.executor.instruct("place", bench.now_ns)
    assert bench.state.time_until_braking == pytest.approx(0.3, abs=DT)
    bench.run(1.0)
    np.testing.assert_array_equal(bench.active.positions[-1], sent.positions[-1])


@pytest.mark.parametrize("before", [(), ("",)])
def test_a_new_instruction_ends_the_old_one_at_rest_too(before):
    bench = Bench()
    bench.give(sway_chunk(0.0, instruction="pick", instruction_id=1))
    bench.run(1.5)
    for instruction in (*before, "place"):
        bench.executor.instruct(instruction, bench.now_ns)
    bench.run(0.05)
    old = bench.standing_chunk(instruction="pick", instruction_id=1)
    assert bench.give(old).reason == "instruction_ended"
    assert bench.state.status == HOLDING
    assert bench.give(bench.standing_chunk(instruction="place", instruction_id=2)) is None


def test_the_same_instruction_again_changes_nothing():
    bench = Bench()
    bench.give(sway_chunk(0.0, instruction="pick", instruction_id=1))
    before = bench.state.time_until_braking
    bench.executor.instruct(" pick ", bench.now_ns)
    assert bench.state.time_until_braking == before
    assert bench.give(sway_chunk(0.0, instruction="pick", instruction_id=1)) is None


def test_single_step_executes_one_chunk_to_its_end_for_each_call_of_step():
    bench = Bench(ExecutorConfig(single_step=True))
    assert bench.give(sway_chunk(0.0)).reason == "awaiting_step"
    for _ in range(2):
        bench.executor.step(bench.now_ns)
        assert bench.give(sway_chunk(bench.t)).reason == "before_stop"
        bench.run(0.01)
        assert bench.give(sway_chunk(bench.t)) is None
        bench.run(0.1)
        assert bench.give(sway_chunk(bench.t)).reason == "awaiting_step"
        bench.run(1.0)
        assert (bench.state.status, bench.state.underruns) == (HOLDING, 0)
        assert "single step" in bench.state.reason
        assert bench.at_rest


def test_a_reset_stops_and_restarts_from_the_measured_state(bench):
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
    np.testing.assert_allclose(bench.active.positions[0], bench.measured)


def test_a_reset_is_reported_until_it_is_done(bench):
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


def test_a_chunk_right_after_a_reset_continues_the_stop_smoothly(bench):
    bench.executor.reset(bench.now_ns)
    bench.run(0.02)
    assert bench.give(sway_chunk(bench.t, episode=1)) is None
    bench.run(0.3)
    assert bench.state.status == RUNNING
    assert max(excess(bench.active, bench.limits)) < 1e-6


def test_start_uses_the_measured_state_but_keeps_a_latched_stop(bench):
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
    np.testing.assert_allclose(bench.active.positions[0], bench.measured)


def test_after_a_reset_motion_starts_from_a_joint_state_that_is_newer_than_the_stop():
    """One from before the robot was at rest tells where it was, not where it stands."""
    bench = Bench.streaming()
    bench.executor.reset(bench.now_ns)
    bench.run(0.05)
    assert not bench.at_rest
    bench.reports = False
    bench.run(0.3)
    rejection = bench.executor.receive(bench.standing_chunk(session="b", id=1), bench.now_ns)
    assert rejection is not None
    assert rejection.reason == "stale_joint_state"
    assert "from before the robot came to rest" in rejection.detail
    bench.reports = True
    bench.run(0.02)
    assert bench.give(bench.standing_chunk(session="b", id=2)) is None
    assert np.ptp(bench.active.positions, axis=0).max() < 1e-6
