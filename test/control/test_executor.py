# SPDX-License-Identifier: Apache-2.0
"""The executor: accepting chunks, executing them, and reporting its state."""

from dataclasses import replace

import numpy as np
import pytest
from support.control_bench import (
    ARM,
    Bench,
    chunk,
    contract,
    excess,
    sway,
    sway_chunk,
)

from groot_ros.control import ExecutorConfig, Rejection
from groot_ros.core import ExecutorStatus

IDLE, RUNNING, BRAKING, HOLDING, ESTOPPED = ExecutorStatus


@pytest.fixture
def bench():
    return Bench.streaming()


def test_the_executor_is_idle_and_sends_nothing_before_the_first_chunk():
    bench = Bench()
    bench.run(0.5)
    assert bench.state.status == IDLE
    assert bench.updates == []
    assert bench.executor.stop(bench.now_ns) is None


def test_the_state_reports_the_current_step_of_the_chunk(bench):
    bench.give(sway_chunk(bench.t - 0.1))
    state = bench.state
    assert state.status == RUNNING
    assert state.session == "a"
    assert state.step == pytest.approx(3.0)
    assert state.chunk_age == pytest.approx(0.1)
    assert state.time_until_braking == pytest.approx(0.4)
    assert (state.received, state.accepted) == (4, 4)


def test_the_status_alone_is_that_of_the_state(bench):
    for wait in (0.0, 0.22, 0.3):
        bench.run(wait)
        state = bench.state
        alone = bench.executor.status(bench.now_ns)
        assert alone == (state.status, state.reason_code, state.reason)
    assert alone[0] == HOLDING


def test_without_a_new_chunk_the_robot_brakes_to_rest_and_an_underrun_is_reported(bench):
    bench.run(0.22)
    assert bench.state.status == BRAKING
    assert bench.state.underruns == 1
    bench.run(0.3)
    assert bench.state.status == HOLDING
    assert "at rest" in bench.state.reason
    assert bench.at_rest


def test_a_chunk_that_arrives_during_the_tail_is_spliced_smoothly(bench):
    bench.run(0.35)
    assert bench.state.status == BRAKING
    assert bench.give(sway_chunk(bench.t - 0.05)) is None
    assert bench.state.status == RUNNING
    assert max(excess(bench.active, bench.limits)) < 1e-6


def test_too_many_underruns_need_a_resume():
    bench = Bench(ExecutorConfig(max_underruns=2))
    for _ in range(2):
        bench.give(sway_chunk(bench.t))
        bench.run(1.0)
    assert bench.state.status == HOLDING
    assert "resume" in bench.state.reason
    assert bench.give(sway_chunk(bench.t)).reason == "needs_resume"
    bench.executor.resume(bench.now_ns)
    bench.run(0.1)
    assert bench.give(sway_chunk(bench.t)) is None


def test_a_policy_that_ended_its_session_may_start_another_immediately(bench):
    bench.run(0.1)
    rejection = bench.give(sway_chunk(bench.t, session="b", id=1))
    assert rejection.reason == "second_policy"
    bench.executor.end_session("another session")
    assert bench.give(sway_chunk(bench.t, session="b", id=1)).reason == "second_policy"
    bench.executor.end_session("a")
    assert bench.give(sway_chunk(bench.t, session="b", id=1)) is None


def test_an_id_far_ahead_is_rejected_and_the_session_continues(bench):
    assert bench.give(sway_chunk(bench.t, id=2**52)).reason == "out_of_order"
    assert bench.give(sway_chunk(bench.t)) is None


def test_a_chunk_far_from_the_measured_state_is_rejected_naming_the_joint(bench):
    values = sway(bench.t + np.arange(16) / 30)
    values[:, 1] += 0.6
    rejection = bench.give(chunk(values, bench.t))
    assert rejection.reason == "start_state_mismatch"
    assert ARM[1] in rejection.detail
    assert bench.state.status == RUNNING
    values[:, 1] -= 0.6
    values[:, 3] += 0.9
    assert bench.give(chunk(values, bench.t)) is None


def test_a_rejected_first_chunk_leaves_the_executor_idle():
    bench = Bench(start=[0.9, 0.9, 0.9, 0.0])
    assert bench.give(sway_chunk(0.0)).reason == "start_state_mismatch"
    assert bench.state.status == IDLE
    assert bench.updates == []


def test_a_chunk_without_remaining_steps_is_rejected(bench):
    assert bench.give(sway_chunk(bench.t - 0.55)).reason == "no_steps_left"
    assert bench.state.status == RUNNING


def test_rejections_are_counted_by_code(bench):
    bench.give(sway_chunk(bench.t, session="b"))
    bench.give(sway_chunk(bench.t - 5.0))
    bench.executor.reject_chunk(Rejection("non_finite", "the chunk holds NaN"))
    assert bench.state.rejections == {"non_finite": 1, "second_policy": 1, "too_old": 1}
    assert (bench.state.received, bench.state.accepted) == (6, 3)


def test_limited_chunks_are_counted_per_joint(bench):
    before = bench.state.limited_chunks
    values = sway(bench.t + np.arange(16) / 30)
    values[8:, 2] += 0.4
    bench.give(chunk(values, bench.t))
    assert tuple(np.subtract(bench.state.limited_chunks, before)) == (0, 0, 1, 0)
    first, second, third, fourth = bench.state.limit_deviation
    assert (first, second, fourth) == (0.0, 0.0, 0.0)
    assert 0.3 < third < 0.45


def test_shadow_mode_reports_everything_and_commands_nothing():
    bench = Bench(ExecutorConfig(shadow=True))
    bench.follows = False
    for _ in range(3):
        assert bench.give(sway_chunk(bench.t)) is None
        bench.run(0.2)
    assert bench.state.shadow
    assert bench.state.reason == "executing a chunk (shadow)"
    assert bench.executor.status(bench.now_ns)[2] == bench.state.reason
    assert bench.state.accepted == 3
    assert bench.updates
    assert all(u.trajectories == () for _, u in bench.updates)
    assert bench.executor.commands(bench.now_ns) == ()


def test_forward_controllers_get_the_active_trajectory_as_a_stream_until_rest():
    robot = contract(type="forward_command_controller", topic="arm/commands")
    bench = Bench(robot=robot)
    assert bench.executor.commands(bench.now_ns) == ()
    bench.stream(0.6)
    assert {t.controller for t in bench.updates[-1][1].trajectories} == {"finger"}
    ((controller, positions),) = bench.executor.commands(bench.now_ns)
    assert controller.name == "arm"
    np.testing.assert_allclose(positions, bench.active.at(bench.now_ns)[0][[2, 1, 0]])
    bench.run(2.0)
    assert bench.executor.commands(bench.now_ns) == ()


def test_only_actuated_joints_are_used():
    robot = contract()
    one = replace(robot, controllers=robot.controllers[1:])
    assert Bench(robot=one).executor.joint_names == ("finger",)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("commit_horizon", 0.0),
        ("blend_window", -0.1),
        ("max_chunk_age", float("nan")),
        ("limits_scale", 1.5),
        ("splice_lead_time", 0.4),
        ("resend_window", 2.0),
    ],
)
def test_settings_out_of_range_are_rejected_by_name(field, value):
    with pytest.raises(ValueError, match=field):
        ExecutorConfig(**{field: value})
