# SPDX-License-Identifier: Apache-2.0
"""Reports of the simulated joint_trajectory_controllers, as in ROS 2 Jazzy."""

from array import array
from typing import Any

from rclpy.node import Node

from groot_ros.bridge import qos
from groot_ros.bridge.messages import ns_to_time
from groot_ros.robot import RobotContract
from groot_ros.robot.controller import StateTopic, controller_type
from groot_ros.sim.clock import PeriodicTimer
from groot_ros.sim.controllers import ControllerReport
from groot_ros.sim.robot import SimulatedRobot


class ControllerStates:
    """Publishers of controller_state; none where control_msgs is not installed.

    The real controller reports in each of its cycles; here the rate is limited, because each report
    costs processor time in this node and in the executor.

    Args:
        node: node of the publishers.
        robot: the simulation.
        contract: its controllers.
        rate: reports of each controller per second; 0 for none.
        start_ns: time of the first report.

    """

    def __init__(
        self,
        node: Node,
        robot: SimulatedRobot,
        contract: RobotContract,
        rate: float,
        start_ns: int,
    ) -> None:
        self._robot = robot
        self._timer = PeriodicTimer(max(rate, 1.0), start_ns)
        self._publishers: list[tuple[str, StateTopic, Any]] = []
        for controller in contract.controllers if rate else ():
            if state := controller_type(controller.type).state():
                publisher = node.create_publisher(
                    state.message, state.name(controller.topic), qos.DRIVER
                )
                self._publishers.append((controller.name, state, publisher))

    def restart(self, start_ns: int) -> None:
        """Count from another instant, after a jump of the clock."""
        self._timer.restart(start_ns)

    def publish_due(self, now_ns: int) -> None:
        """Publish a report of each controller if a period has passed."""
        if not self._publishers or not self._timer.due(now_ns):
            return
        for name, state, publisher in self._publishers:
            if (report := self._robot.controller_report(name)) is not None:
                publisher.publish(_message(state.message, report))


def _message(kind: type, report: ControllerReport) -> Any:
    message = kind(joint_names=list(report.reference))
    message.header.stamp = ns_to_time(report.stamp_ns)
    message.reference.positions = array("d", report.reference.values())
    message.feedback.positions = array("d", report.feedback.values())
    message.output.positions = array("d", report.output.values())
    message.error.positions = array(
        "d", (at - report.feedback[joint] for joint, at in report.reference.items())
    )
    if hasattr(message, "speed_scaling_factor"):  # not in Humble
        message.speed_scaling_factor = report.speed_scaling
    return message
