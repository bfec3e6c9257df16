# SPDX-License-Identifier: Apache-2.0
"""Each fault of docs/reference/faults.md over real processes, and the state that it leads to."""

import math

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from support.policy_stage import wait_until
from support.process_stage import CONTRACT, HOME, JOINTS, PERIOD, Policy, ProcessStage

from groot_ros.core import s_to_ns
from groot_ros.msg import ExecutorState

pytestmark = pytest.mark.ros
RUNNING, BRAKING, HOLDING = (
    ExecutorState.RUNNING,
    ExecutorState.BRAKING,
    ExecutorState.HOLDING,
)
#: rad in one control period at the largest velocity of the SO-101's contract.
STEP = 4.0 * PERIOD
#: A gripper that holds something does not reach its command.
WATCHED = [joint != "gripper" for joint in JOINTS]


@pytest.fixture
def stage(ros_domain, tmp_path):
    made = ProcessStage(tmp_path)
    yield made
    made.end()


@pytest.fixture
def running(stage):
    stage.executor = stage.start_executor()
    stage.run()
    return stage


def test_a_policy_that_is_too_late_is_rejected_until_it_is_on_time_again(running):
    running.policy.latency = 1.5
    running.wait(HOLDING, "no chunk was accepted (last rejected: too_old)", rejected="too_old")
    running.policy.latency = 0.1
    running.wait(RUNNING)
    assert running.steps_since(running.began_ns).step < STEP


def test_after_a_pause_of_the_policy_motion_continues_from_the_braking_tail(running):
    running.policy.on = False
    running.wait(BRAKING)
    running.policy.on = True
    running.wait(RUNNING)
    assert running.steps_since(running.began_ns).step < STEP


def test_chunks_with_nan_are_rejected_and_the_robot_comes_to_rest(running):
    def spoil(msg):
        msg.groups[0].values[3] = math.nan

    running.policy.modify = spoil
    running.wait(
        HOLDING, "no chunk was accepted (last rejected: non_finite): at rest", rejected="non_finite"
    )
    wait_until(
        lambda: running.steps_since(running.now_ns - s_to_ns(0.2)).at_rest, "the robot is at rest"
    )
    assert running.steps_since(running.began_ns).step < STEP


def test_chunks_of_a_wrong_joint_count_are_rejected_and_the_robot_comes_to_rest(running):
    def spoil(msg):
        msg.groups[0].values = msg.groups[0].values[:-1]

    running.policy.modify = spoil
    running.wait(
        HOLDING,
        "no chunk was accepted (last rejected: sizes_disagree): at rest",
        rejected="sizes_disagree",
    )


def test_joint_states_of_a_wrong_joint_count_are_treated_as_lost(running):
    running.robot.has_stray_joint = True
    running.wait(HOLDING, "joint states lost", rejected="invalid_joint_state")


def test_lost_joint_states_stop_the_robot_until_they_return(running):
    running.robot.silent.add("joints")
    running.wait(HOLDING, "joint states lost", rejected="stale_joint_state")
    running.stays(HOLDING)
    running.robot.silent.clear()
    running.wait(RUNNING)
    assert running.steps_since(running.began_ns).step < STEP


def test_of_two_policies_the_first_continues_and_the_second_is_rejected(running):
    second = Policy(running, session="b")
    second.on = True
    running.policies.append(second)
    state = running.wait(RUNNING, rejected="second_policy")
    assert state.session == "a"
    running.stays(RUNNING)
    assert "stop one of the two policies" in running.log("executor_node")
    level = running.diagnosed("executor_node: motion", "second_policy")
    assert level == DiagnosticStatus.ERROR


def test_another_policy_takes_over_when_the_first_is_silent(running):
    running.policy.on = False
    second = Policy(running, session="b")
    running.policies.append(second)
    second.on = True
    state = running.states.wait(lambda s: s.session == "b" and s.status == RUNNING)
    assert state.underruns == 1


def test_a_killed_executor_leaves_a_robot_that_comes_to_rest(running):
    running.executor.kill()
    killed_ns = running.now_ns
    wait_until(lambda: running.now_ns - killed_ns > s_to_ns(0.75), "0.75 s have passed")
    since = running.steps_since(killed_ns)
    assert 0.0 < since.step < STEP
    assert running.steps_since(running.now_ns - s_to_ns(0.1)).at_rest


def test_a_restarted_executor_begins_at_the_measured_state(running):
    running.executor.kill()
    running.start_executor()
    running.wait(RUNNING)
    assert running.steps_since(running.began_ns).step < STEP


@pytest.mark.parametrize(
    ("jump", "reason"),
    [
        (-20.0, "clock went back"),
        (20.0, "the clock jumped 20.0 s ahead"),
        (0.5, "the clock jumped 0.5 s ahead"),
        (0.9, "the clock jumped 0.9 s ahead"),
    ],
)
def test_a_clock_that_jumps_stops_the_robot_until_the_next_chunk(stage, jump, reason):
    stage.start_executor(use_sim_time="true")
    stage.run()
    stage.policy.on = False
    stage.jump_ns += s_to_ns(jump)
    stage.wait(HOLDING, reason)
    stage.policy.on = True
    stage.wait(RUNNING)


def test_a_controller_that_rejects_commands_stops_the_executor_until_resume(running):
    running.policy.amplitude = 0.5
    running.robot.rejects_commands = True
    running.wait(HOLDING, "does not follow")
    running.stays(HOLDING)
    running.robot.rejects_commands = False
    running.policy.amplitude = 0.1
    assert running.trigger("executor_node/resume").success
    running.wait(RUNNING)


@pytest.mark.slow
@pytest.mark.parametrize("length", [0.6, 0.9, 1.2])
def test_after_lost_commands_a_controller_jumps_by_at_most_the_tracking_tolerance(running, length):
    running.policy.amplitude = 0.8
    wait_until(lambda: running.robot.position[JOINTS[0]] - HOME > 0.75, "the arm is far from home")
    running.robot.rejects_commands = True
    lost_ns = running.now_ns
    wait_until(lambda: running.now_ns - lost_ns > s_to_ns(length), "commands were lost")
    running.robot.rejects_commands = False
    restored_ns = running.now_ns
    wait_until(lambda: running.now_ns - restored_ns > s_to_ns(1.0), "commands arrive again")
    arm = np.array([row for at, row in list(running.robot.commands) if at > lost_ns])[:, WATCHED]
    # Plus the motion of the command between the measurement and the message.
    assert np.abs(np.diff(arm, axis=0)).max() < 0.3 + 0.1


@pytest.mark.slow
def test_a_second_executor_yields_to_the_first(running):
    started_ns = running.now_ns
    wait_until(lambda: running.now_ns - started_ns > s_to_ns(6.0), "the first no longer yields")
    running.policy.amplitude = 0.6
    running.start("executor_node", __node="second", executor_state="second_state")
    reason = "another node commands this robot: "
    # At activation, or as soon as it has discovered the first one.
    wait_until(lambda: reason in running.log("executor_node"), "the second yields")
    running.stays(RUNNING)
    assert running.steps_since(running.began_ns).step < STEP


def test_after_ctrl_c_in_motion_every_controller_and_observer_receives_the_hold(running):
    before = running.robot.received.copy()
    running.executor.interrupt()
    assert running.executor.wait() == 0
    running.wait(HOLDING, "deactivated")
    assert all(running.robot.received[c.name] > before[c.name] for c in CONTRACT.controllers)
    wait_until(
        lambda: running.steps_since(running.now_ns - s_to_ns(0.2)).at_rest, "the robot is at rest"
    )
    assert running.steps_since(running.began_ns).step < STEP


def test_a_stalled_clock_stops_the_executor_until_it_continues(stage):
    stage.start_executor(use_sim_time="true")
    stage.run()
    stage.stop_clock()
    stage.wait(HOLDING, "/clock has stood still")
    level = stage.diagnosed("executor_node: motion", "/clock has stood still")
    assert level == DiagnosticStatus.ERROR
    stage.start_clock()
    stage.wait(RUNNING)
