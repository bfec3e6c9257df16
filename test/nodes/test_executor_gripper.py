# SPDX-License-Identifier: Apache-2.0
"""The executor node with a gripper behind an action, and a suction cup behind a Bool, over DDS."""

import sys

import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from lifecycle_msgs.msg import Transition
from std_msgs.msg import Bool
from support.executor_stage import CONTRACT, ExecutorStage
from support.gripper_server import ScriptedGripper
from support.policy_stage import Inbox, wait_until

from groot_ros.bridge import qos
from groot_ros.msg import ExecutorState

pytestmark = pytest.mark.ros

_FORWARD = "type: forward_command_controller, topic: finger/commands,"
ACTION = CONTRACT.replace(_FORWARD, "type: gripper_action_controller, max_effort: 5.0,")
DIGITAL = CONTRACT.replace(_FORWARD, "type: digital_output, topic: valve, threshold: -0.5,")


@pytest.fixture
def gripper_of():
    """Add a scripted gripper to a stage; it is destroyed before the stage's nodes."""
    made: list[ScriptedGripper] = []

    def add(stage: ExecutorStage) -> ScriptedGripper:
        made.append(ScriptedGripper(stage.observer, "finger/gripper_cmd"))
        return made[-1]

    yield add
    for gripper in made:
        gripper.destroy()


@pytest.fixture
def begin(ros_domain, tmp_path):
    stages = []

    def made(text: str) -> ExecutorStage:
        stages.append(ExecutorStage(tmp_path, text))
        return stages[-1]

    yield made
    for stage in stages:
        stage.end()


def test_goals_follow_the_motion_and_an_emergency_stop_cancels_them(begin, gripper_of):
    on = begin(ACTION)
    gripper = gripper_of(on)
    on.bring_up()
    on.run()
    wait_until(lambda: gripper.handles, "a goal is accepted")
    command = gripper.goals[0].command
    assert command.max_effort == 5.0
    assert 0.0 < abs(command.position) <= 0.2
    assert on.switch("estop", True).success
    wait_until(lambda: gripper.cancelled, "the goal is cancelled")
    count = len(gripper.goals)
    on.states.wait(lambda s: s.status == ExecutorState.ESTOPPED)
    assert on.trigger("resume").success
    on.run()
    wait_until(lambda: len(gripper.goals) > count, "the next motion has a goal")


def test_a_hold_and_deactivation_send_nothing_and_cancel_nothing(begin, gripper_of):
    on = begin(ACTION)
    gripper = gripper_of(on)
    on.bring_up()
    on.run()
    wait_until(lambda: gripper.handles, "a goal is accepted")
    assert on.switch("hold", True).success
    on.states.wait(lambda s: s.status == ExecutorState.HOLDING)
    count = len(gripper.goals)
    assert on.change(Transition.TRANSITION_DEACTIVATE)
    assert (len(gripper.goals), gripper.cancelled) == (count, 0)


def test_without_an_action_server_the_arm_moves_and_the_error_is_logged_once(begin, capfd):
    on = begin(ACTION)
    on.bring_up()
    on.run()
    assert on.trajectories.wait().joint_names == ["lift", "pan"]
    text = "gripper controller 'finger' cannot be commanded: no server of the action"
    assert on.diagnosed("motion", text) == DiagnosticStatus.ERROR
    assert on.run().status == ExecutorState.RUNNING
    seen = len(on.diagnostics)
    on.diagnostics.wait(lambda d: any(text in s.message for s in d.status), after=seen)
    assert capfd.readouterr().err.count(text) == 1


def test_without_control_msgs_configure_fails_and_names_the_package(begin, monkeypatch, capfd):
    monkeypatch.setitem(sys.modules, "control_msgs", None)
    on = begin(ACTION)
    assert not on.change(Transition.TRANSITION_CONFIGURE)
    logged = capfd.readouterr().err
    assert (
        "configure failed: controller 'finger': the action GripperCommand is in the package "
        "control_msgs, which is not installed: apt install ros-$ROS_DISTRO-control-msgs"
    ) in logged


def test_isaac_gr00t_723_a_suction_cup_stays_on_during_emergency_stop_deactivation_and_cleanup(
    begin,
):
    on = begin(DIGITAL)
    valve = Inbox()
    on.observer.create_subscription(Bool, "valve", valve.put, qos.LATCHED)
    on.bring_up()
    on.run()
    assert valve.wait().data is True
    assert on.switch("estop", True).success
    on.states.wait(lambda s: s.status == ExecutorState.ESTOPPED)
    assert on.change(Transition.TRANSITION_DEACTIVATE)
    assert on.change(Transition.TRANSITION_CLEANUP)
    assert {m.data for m in valve.all()} == {True}
