# SPDX-License-Identifier: Apache-2.0
"""Each status of the executor has a code that programs can compare."""

import numpy as np
import pytest
from support.control_bench import Bench, chunk, sway, sway_chunk

from groot_ros.control import ExecutorConfig
from groot_ros.core import ControlSource, ExecutorState, ExecutorStatus, ReasonCode


def code(bench: Bench) -> ReasonCode:
    return bench.state.reason_code


@pytest.fixture
def bench() -> Bench:
    return Bench.streaming()


def test_before_and_during_a_chunk_the_policy_is_in_control():
    bench = Bench()
    assert (code(bench), bench.state.control_source) == (ReasonCode.WAITING, ControlSource.POLICY)
    bench.give(sway_chunk(0.0))
    assert (code(bench), bench.state.control_source) == (ReasonCode.EXECUTING, ControlSource.POLICY)
    assert bench.state.intervention_id == 0


def test_braking_and_rest_after_a_missing_chunk_have_the_same_code():
    bench = Bench()
    bench.give(sway_chunk(0.0))
    seen: dict[ExecutorStatus, ExecutorState] = {}
    for _ in range(200):
        seen[bench.state.status] = bench.state
        bench.run(0.01)
    braking, holding = seen[ExecutorStatus.BRAKING], seen[ExecutorStatus.HOLDING]
    assert {braking.reason_code, holding.reason_code} == {ReasonCode.NO_CHUNK}
    assert braking.control_source == ControlSource.POLICY
    assert holding.control_source == ControlSource.HOLD


def test_chunks_that_are_rejected_are_distinguished_from_missing_ones(bench):
    for _ in range(20):
        bench.give(sway_chunk(bench.t, dt=1e-6))
        bench.run(0.1)
    assert code(bench) == ReasonCode.CHUNKS_REJECTED


def test_a_hold_and_its_release_have_their_codes(bench):
    bench.executor.hold(True, bench.now_ns)
    assert (code(bench), bench.state.control_source) == (
        ReasonCode.OPERATOR_HOLD,
        ControlSource.HOLD,
    )
    bench.run(0.6)
    bench.executor.hold(False, bench.now_ns)
    assert code(bench) == ReasonCode.RELEASED


def test_an_emergency_stop_and_its_end_have_their_codes(bench):
    bench.executor.estop(bench.now_ns)
    assert (code(bench), bench.state.latched) == (ReasonCode.EMERGENCY_STOP, True)
    assert bench.state.control_source == ControlSource.HOLD
    bench.run(0.6)
    bench.executor.resume(bench.now_ns)
    assert (code(bench), bench.state.latched) == (ReasonCode.RESUMED, False)


@pytest.mark.parametrize(
    ("stop", "expected"),
    [
        (lambda e, now: e.stop(now), ReasonCode.STOPPED),
        (lambda e, now: e.stop(now, "deactivated", ReasonCode.DEACTIVATED), ReasonCode.DEACTIVATED),
        (lambda e, now: e.instruct("", now), ReasonCode.NO_INSTRUCTION),
        (lambda e, now: e.reset(now), ReasonCode.RESET),
        (lambda e, now: e.yield_control("another node", now), ReasonCode.SECOND_EXECUTOR),
        (lambda e, now: e.fail("division by zero", now), ReasonCode.INTERNAL_ERROR),
    ],
    ids=lambda value: value.name if isinstance(value, ReasonCode) else "",
)
def test_each_stop_has_its_code(bench, stop, expected):
    stop(bench.executor, bench.now_ns)
    assert (bench.state.status, code(bench)) == (ExecutorStatus.HOLDING, expected)


def test_a_changed_instruction_has_its_code():
    bench = Bench()
    bench.give(sway_chunk(0.0, instruction="pick", instruction_id=1))
    bench.executor.instruct("place", bench.now_ns)
    bench.run(0.5)
    assert code(bench) == ReasonCode.INSTRUCTION_CHANGED


def test_the_end_of_a_single_step_has_its_code():
    bench = Bench(ExecutorConfig(single_step=True))
    bench.executor.step(bench.now_ns)
    bench.run(0.01)
    assert bench.give(sway_chunk(bench.t)) is None
    bench.run(1.0)
    assert code(bench) == ReasonCode.STEP_DONE


def test_too_many_underruns_have_their_code():
    bench = Bench(ExecutorConfig(max_underruns=1))
    bench.give(sway_chunk(bench.t))
    bench.run(1.0)
    assert (code(bench), bench.state.latched) == (ReasonCode.TOO_MANY_UNDERRUNS, True)


def test_a_robot_that_does_not_move_has_the_same_code_before_and_after_the_latch():
    bench = Bench()
    bench.follows = False
    fast = np.cumsum(np.full((31, 4), 0.04), axis=0) + sway(0.0) - 0.04
    assert bench.give(chunk(fast, 0.0)) is None
    bench.run(0.35)
    assert (code(bench), bench.state.latched) == (ReasonCode.TRACKING_ERROR, False)
    bench.run(0.6)
    assert (code(bench), bench.state.latched) == (ReasonCode.TRACKING_ERROR, True)


def test_lost_joint_states_have_their_code(bench):
    bench.give(sway_chunk(bench.t, steps=30))
    bench.reports = False
    bench.run(0.7)
    assert code(bench) == ReasonCode.JOINT_STATES_LOST


def test_a_state_that_cannot_stop_within_the_limits_has_its_code():
    bench = Bench(start=[1.45, 0.0, 0.0, 0.0], velocity=[3.0, 0.0, 0.0, 0.0])
    assert bench.give(sway_chunk(0.0)).reason == "cannot_stop"
    assert code(bench) == ReasonCode.CANNOT_STOP


def test_a_clock_jump_has_its_code(bench):
    bench.stall(5.0)
    assert code(bench) == ReasonCode.CLOCK_JUMP
