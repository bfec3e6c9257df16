# SPDX-License-Identifier: Apache-2.0
"""Gripper actions over DDS: goals, results, faults, cancellation. Times are given by the test."""

import time

import numpy as np
import pytest
import rclpy
from rclpy.action import ActionClient
from rclpy.executors import SingleThreadedExecutor
from support.gripper_server import ScriptedGripper

from groot_ros.core import s_to_ns
from groot_ros.nodes.guarded import GuardedNode
from groot_ros.robot.contract import parse_contract
from groot_ros.robot.controller import controller_type

pytestmark = pytest.mark.ros

TYPES = ("gripper_action_controller", "parallel_gripper_action_controller")
TIMEOUT = 30.0


def contract(kind: str = TYPES[0], **options: object):
    """A gripper whose finger is closed at 0 and open at 0.04 m."""
    joint = {
        "type": "prismatic",
        "limits": {"position": [0.0, 0.04], "velocity": 0.2, "acceleration": 2.0},
        "gripper": {"closed": 0.0, "open": 0.04},
    }
    return parse_contract(
        {
            "version": 2,
            "robot": "gripper",
            "action_dt": 0.05,
            "joints": {"finger": joint},
            "cameras": {"front": {"topic": "front", "rate": 30.0}},
            "inputs": {
                "state": {"hand": [{"joint": "finger"}]},
                "sources": {"all": {"topic": "joint_states"}},
            },
            "outputs": {"hand": [{"controller": "hand", "joints": ["finger"]}]},
            "controllers": [{"name": "hand", "type": kind, "joints": ["finger"], **options}],
        }
    )


class Stage:
    """An output and a scripted server in one executor, which the test spins."""

    def __init__(self, kind: str = TYPES[0], **options: object) -> None:
        rclpy.init()
        self.node = GuardedNode("executor")
        self.driver = rclpy.create_node("driver")
        self._spinner = SingleThreadedExecutor()
        for node in (self.node, self.driver):
            self._spinner.add_node(node)
        (self.controller,) = contract(kind, **options).controllers
        self.kind = controller_type(kind)
        self.output = self.kind.connect(self.node, self.controller, self.node.guarded)
        self.server: ScriptedGripper | None = None
        self.start_server()
        self.now_ns = 10**18

    def start_server(self) -> None:
        self.server = ScriptedGripper(self.driver, self.controller.topic, self.kind.action_type())
        self.spin_until(lambda: not self.output.fault() and self.found, "the server is found")

    def stop_server(self) -> None:
        self.server.destroy()
        self.spin_until(lambda: self.output.fault(), "the server is gone")

    @property
    def found(self) -> bool:
        probe = f"/{self.controller.topic}/_action/send_goal"
        names = [name for name, _ in self.node.get_service_names_and_types()]
        return probe in names and not self.output.fault()

    def spin_until(self, condition, what: str) -> None:
        end = time.monotonic() + TIMEOUT
        while not condition():
            assert time.monotonic() < end, f"never: {what}"
            self._spinner.spin_once(timeout_sec=0.02)

    def target(self, position: float, after: float = 0.2) -> None:
        """Pass a target `after` s after the last one."""
        self.now_ns += s_to_ns(after)
        self.output.send(np.array([position]), self.now_ns)

    def goal(self, position: float):
        """Pass a target that becomes a goal, and wait until it is answered."""
        count = len(self.server.goals)
        self.target(position)
        self.spin_until(lambda: len(self.server.goals) > count, "a goal arrives")
        return self.server.goals[-1]

    def accepted(self, position: float) -> int:
        """Send a goal and wait until its acceptance has been received; return its index."""
        count = len(self.server.handles)
        self.goal(position)
        self.spin_until(lambda: len(self.server.handles) > count, "the goal is accepted")
        return count

    def end(self) -> None:
        # A node does not destroy its action clients and servers, which keep its participant alive.
        self.output.destroy()
        self.server.destroy()
        self._spinner.shutdown()
        for node in (self.node, self.driver):
            node.destroy_node()
        rclpy.shutdown()


@pytest.fixture
def begin(ros_domain):
    stages = []

    def made(*arguments, **options) -> Stage:
        stages.append(Stage(*arguments, **options))
        return stages[-1]

    yield made
    for stage in stages:
        stage.end()


# Grippers behind an action: scikit-robot 837 (GripperCommand for any driver, with the width of the
# gripper as its position), ros2_controllers 155 (GripperCommand and its stall). The suction cup of
# Isaac-GR00T 723 is in test_digital_output.py and test/nodes/test_executor_gripper.py.


def test_scikit_robot_837_a_gripper_command_has_the_position_and_the_effort_of_the_contract(begin):
    stage = begin(max_effort=20.0)
    command = stage.goal(0.01).command
    assert (command.position, command.max_effort) == (0.01, 20.0)


def test_a_parallel_gripper_command_names_its_joint_and_has_no_effort_by_default(begin):
    stage = begin(TYPES[1])
    command = stage.goal(0.01).command
    assert (command.name, command.position.tolist()) == (["finger"], [0.01])
    assert command.effort.tolist() == []


def test_scikit_robot_837_the_width_of_a_gripper_is_converted_from_its_joint(begin):
    stage = begin(scale=-2.0, offset=0.08)
    assert stage.goal(0.01).command.position == pytest.approx(0.06)


def test_ros2_controllers_155_a_finger_that_stalls_while_closing_has_grasped_an_object(begin):
    stage = begin()
    stage.server.finish(stage.accepted(0.03), "succeed", 0.03)
    stage.server.finish(stage.accepted(0.0), "abort", 0.012, stalled=True)
    stage.server.finish(stage.accepted(0.04), "abort", 0.035, stalled=True)
    stage.spin_until(stage.output.fault, "the third goal has failed")
    assert stage.output.fault() == (
        "gripper controller 'hand' stalled while opening to 0.04, at 0.035: remove what blocks it, "
        "or correct the open end of its joint in the robot contract"
    )
    # The next goal that succeeds ends the fault.
    stage.server.finish(stage.accepted(0.02), "succeed", 0.02)
    stage.spin_until(lambda: not stage.output.fault(), "the fault has ended")


def test_a_parallel_gripper_that_stalls_on_an_object_has_grasped_it(begin):
    stage = begin(TYPES[1], scale=-1.0, offset=0.04)
    stage.server.finish(stage.accepted(0.0), "abort", 0.03, stalled=True)
    stage.server.finish(stage.accepted(0.02), "abort", 0.03, stalled=False)
    stage.spin_until(stage.output.fault, "the second goal has failed")
    assert "aborted the goal 0.02: see its log" in stage.output.fault()


def test_a_rejected_goal_is_reported_and_sent_again_each_second(begin):
    stage = begin()
    stage.server.accepts = False
    stage.goal(0.01)
    stage.spin_until(stage.output.fault, "the rejection has arrived")
    assert "'hand' rejected the goal 0.01: activate the controller" in stage.output.fault()
    stage.target(0.01, after=0.9)
    stage.server.accepts = True
    stage.goal(0.01)
    assert len(stage.server.goals) == 2
    stage.server.finish(0, "succeed", 0.01)
    stage.spin_until(lambda: not stage.output.fault(), "the fault has ended")


def test_a_goal_that_another_node_cancels_is_reported(begin):
    stage = begin()
    index = stage.accepted(0.01)
    info = stage.server.handles[index]
    from action_msgs.srv import CancelGoal

    service = f"{stage.controller.topic}/_action/cancel_goal"
    client = stage.driver.create_client(CancelGoal, service)
    stage.spin_until(client.service_is_ready, "the service is found")
    client.call_async(CancelGoal.Request())
    stage.spin_until(lambda: info.is_cancel_requested, "the cancellation has arrived")
    stage.server.finish(index, "canceled")
    stage.spin_until(stage.output.fault, "the result has arrived")
    assert "another node cancelled the goal 0.01" in stage.output.fault()


def test_a_goal_of_another_node_is_reported_while_it_lasts_and_three_seconds_longer(begin):
    stage = begin()
    first = stage.accepted(0.01)
    stage.server.finish(first, "succeed", 0.01)
    other = ActionClient(stage.driver, stage.kind.action_type(), stage.controller.topic)
    stage.spin_until(other.server_is_ready, "the other node finds the server")
    other.send_goal_async(stage.kind.to_goal("finger", 0.03, None))
    faults: list[str] = []

    def reported() -> bool:
        faults.append(stage.output.fault())
        return bool(faults[-1])

    stage.spin_until(reported, "the goal is noticed")
    assert faults[-1] == ("another node sends goals to gripper controller 'hand': stop one of them")
    stage.server.finish(1, "succeed", 0.03)
    stage.spin_until(lambda: not stage.server.handles[1].is_active, "the goal has ended")
    other.destroy()
    after = [bool(stage.output.fault()) for _ in range(5)]
    assert (any(after[:3]), any(after[3:])) == (True, False)


def test_an_emergency_stop_cancels_the_goal_once_and_the_next_target_is_sent(begin):
    stage = begin()
    index = stage.accepted(0.01)
    stage.output.cancel()
    stage.output.cancel()
    stage.spin_until(lambda: stage.server.cancelled, "the cancellation has arrived")
    stage.server.finish(index, "canceled", 0.02)
    assert stage.goal(0.01).command.position == 0.01
    assert (stage.server.cancelled, stage.output.fault()) == (1, "")


def test_a_goal_that_is_accepted_after_the_emergency_stop_is_cancelled_then(begin):
    stage = begin()
    stage.target(0.01)
    stage.output.cancel()
    stage.spin_until(lambda: stage.server.cancelled, "the goal is cancelled")
    assert len(stage.server.handles) == 1


def test_a_controller_that_does_not_cancel_is_reported(begin):
    stage = begin()
    stage.server.lets_cancel = False
    stage.accepted(0.01)
    stage.spin_until(lambda: stage.server.handles, "the goal is accepted")
    stage.output.cancel()
    stage.spin_until(stage.output.fault, "the answer has arrived")
    assert "did not cancel the goal 0.01 at the emergency stop" in stage.output.fault()


def test_the_end_of_a_superseded_goal_is_not_a_fault(begin):
    stage = begin()
    first = stage.accepted(0.01)
    second = stage.accepted(0.03)
    stage.server.finish(first, "abort", 0.02)
    stage.server.finish(second, "succeed", 0.03)
    assert stage.goal(0.0).command.position == 0.0
    assert stage.output.fault() == ""


def test_without_a_server_the_fault_says_so_and_the_target_is_sent_when_it_is_there(begin):
    stage = begin()
    stage.server.finish(stage.accepted(0.01), "succeed", 0.01)
    stage.stop_server()
    assert stage.output.fault() == (
        "gripper controller 'hand' cannot be commanded: no server of the action "
        "'hand/gripper_cmd'; start or activate the controller, or correct 'action' of this "
        "controller in the robot contract"
    )
    stage.target(0.03)
    stage.start_server()
    assert stage.goal(0.03).command.position == 0.03


def test_a_server_that_is_still_starting_is_missing_once_a_target_is_due(begin):
    stage = begin()
    (controller,) = contract(action="starts_later").controllers
    output = stage.kind.connect(stage.node, controller, stage.node.guarded)
    assert [output.fault() for _ in range(10)] == [""] * 10
    output.send(np.array([0.03]), stage.now_ns)
    assert "no server of the action 'starts_later'" in output.fault()
    output.destroy()


def test_a_server_that_never_starts_is_missing_without_a_target_too(begin):
    stage = begin()
    (controller,) = contract(action="never_starts").controllers
    output = stage.kind.connect(stage.node, controller, stage.node.guarded)
    faults = [output.fault() for _ in range(20)]
    assert faults[9] == ""
    assert "no server of the action 'never_starts'" in faults[-1]
    output.destroy()


def test_a_server_that_restarts_between_two_checks_gets_the_present_target(begin):
    """A controller that is switched off and on drops its goal within a fraction of a second."""
    stage = begin()
    stage.accepted(0.02)
    stage.server.destroy()
    probe = ActionClient(stage.node, stage.kind.action_type(), stage.controller.topic)
    stage.spin_until(lambda: not probe.server_is_ready(), "the server is gone")
    probe.destroy()
    stage.target(0.02)
    stage.server = ScriptedGripper(stage.driver, stage.controller.topic, stage.kind.action_type())

    def arrived() -> bool:
        stage.target(0.02)
        return bool(stage.server.goals)

    stage.spin_until(arrived, "the present target is sent to the new server")
