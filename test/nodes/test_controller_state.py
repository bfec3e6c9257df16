# SPDX-License-Identifier: Apache-2.0
"""The state topics of controllers, over real processes."""

import pytest
from rclpy.clock import Clock, ClockType
from support.policy_stage import wait_until
from support.process_stage import CONTRACT, PERIOD, ProcessStage

from groot_ros.bridge import qos
from groot_ros.bridge.controllers.joint_trajectory_controller import state_topic
from groot_ros.bridge.messages import ns_to_time
from groot_ros.msg import ExecutorState

pytestmark = pytest.mark.ros
control_msgs = pytest.importorskip("control_msgs.msg", reason="control_msgs is not installed")
RUNNING, HOLDING = ExecutorState.RUNNING, ExecutorState.HOLDING
ARM = next(c for c in CONTRACT.controllers if c.name == "arm_controller")


class Reports:
    """Reports of each controller every period, `offset` rad away from its command."""

    def __init__(self, stage: ProcessStage) -> None:
        self._stage = stage
        self.offset = 0.0
        self.has_reference = True
        self.active = True
        kind = control_msgs.JointTrajectoryControllerState
        self._publishers = {
            c: stage.node.create_publisher(kind, state_topic(c.topic), qos.COMMAND)
            for c in CONTRACT.controllers
        }
        stage.node.create_timer(PERIOD, self._report, clock=Clock(clock_type=ClockType.STEADY_TIME))

    @property
    def connected(self) -> bool:
        return all(p.get_subscription_count() for p in self._publishers.values())

    def _report(self) -> None:
        if not self.active or not self._stage.robot.commands:
            return
        at_ns, _ = self._stage.robot.commands[-1]
        for controller, publisher in self._publishers.items():
            msg = control_msgs.JointTrajectoryControllerState(joint_names=list(controller.joints))
            msg.header.stamp = ns_to_time(at_ns)
            if self.has_reference:
                held = [self._stage.robot.position[joint] for joint in controller.joints]
                msg.reference.positions = [p + self.offset for p in held]
                msg.feedback.positions = held
            publisher.publish(msg)


@pytest.fixture
def stage(ros_domain, tmp_path):
    made = ProcessStage(tmp_path)
    yield made
    made.end()


def test_a_controller_that_reports_another_reference_stops_the_executor(stage):
    reports = Reports(stage)
    stage.start_executor()
    wait_until(lambda: reports.connected, "the executor has subscribed to the controllers")
    stage.run()
    stage.stays(RUNNING)
    # The robot itself follows, so only the report shows the difference.
    reports.offset = 0.1
    state = stage.wait(HOLDING, "does not follow")
    assert f"controller '{ARM.name}'" in state.reason or "gripper_controller" in state.reason
    reports.offset = 0.0
    assert stage.trigger("executor_node/resume").success
    stage.wait(RUNNING)


def test_a_controller_without_a_reference_is_not_checked(stage):
    reports = Reports(stage)
    reports.has_reference = False
    stage.start_executor()
    wait_until(lambda: reports.connected, "the executor has subscribed to the controllers")
    stage.run()
    stage.stays(RUNNING)


def test_an_inactive_controller_holds_the_executor_until_it_reports_again(stage):
    reports = Reports(stage)
    stage.start_executor()
    wait_until(lambda: reports.connected, "the executor has subscribed to the controllers")
    stage.run()
    stage.stays(RUNNING)
    reports.active = False
    state = stage.wait(HOLDING, "is not active: no controller_state for")
    assert (state.reason_code, state.latched) == (ExecutorState.REASON_CONTROLLER_INACTIVE, False)
    reports.active = True
    stage.wait(RUNNING)
