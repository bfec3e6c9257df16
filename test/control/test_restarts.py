# SPDX-License-Identifier: Apache-2.0
"""With require_resume_after_restart, motion continues after a restart only with ~/resume."""

import pytest
from support.control_bench import Bench, sway_chunk

from groot_ros.control import ExecutorConfig
from groot_ros.core import ExecutorStatus, ReasonCode


def restarted_policy(bench: Bench) -> str | None:
    """Let the policy end and give a chunk of its next session; return the code of a rejection."""
    bench.executor.end_session("a")
    rejection = bench.give(sway_chunk(bench.t, session="b"))
    return None if rejection is None else rejection.reason


@pytest.fixture
def bench() -> Bench:
    moving = Bench(ExecutorConfig(require_resume_after_restart=True))
    moving.stream(0.6)
    return moving


def test_by_default_a_restarted_policy_continues():
    moving = Bench.streaming()
    assert restarted_policy(moving) is None
    assert moving.state.status == ExecutorStatus.RUNNING


def test_a_restarted_policy_waits_for_resume_and_the_next_restart_does_again(bench):
    assert restarted_policy(bench) == "needs_resume"
    bench.run(1.0)
    state = bench.state
    assert (state.status, state.reason_code) == (ExecutorStatus.HOLDING, ReasonCode.RESTARTED)
    assert state.latched
    assert state.reason == "the policy was restarted: call resume first"
    bench.executor.resume(bench.now_ns)
    bench.run(0.01)
    assert bench.give(bench.standing_chunk(session="b")) is None
    bench.executor.end_session("b")
    assert bench.give(bench.standing_chunk(session="c")).reason == "needs_resume"


def test_the_session_that_moves_the_robot_is_never_asked_to_wait(bench):
    assert bench.give(sway_chunk(bench.t)) is None
    assert bench.state.status == ExecutorStatus.RUNNING


def test_the_first_session_after_the_start_needs_no_resume(bench):
    bench.executor.start(bench.now_ns)
    bench.run(0.01)
    assert bench.give(sway_chunk(bench.t, session="b")) is None


def test_a_robot_whose_joint_states_stopped_waits_for_resume(bench):
    bench.reports = False
    bench.run(1.0)
    assert (bench.state.reason_code, bench.state.latched) == (ReasonCode.RESTARTED, True)
    bench.reports = True
    bench.run(0.5)
    assert bench.give(bench.standing_chunk()).reason == "needs_resume"
    bench.executor.resume(bench.now_ns)
    bench.run(0.01)
    assert bench.give(bench.standing_chunk()) is None


def test_a_robot_that_was_never_moved_may_start_late():
    waiting = Bench(ExecutorConfig(require_resume_after_restart=True))
    waiting.reports = False
    waiting.run(1.0)
    assert not waiting.state.latched
