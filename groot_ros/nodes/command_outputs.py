"""The executor's way to the controllers: one publisher each, of the type it takes."""

from array import array
from collections.abc import Iterable

from builtin_interfaces.msg import Duration
from rclpy.node import Node
from rclpy.publisher import Publisher
from std_msgs.msg import Float64MultiArray
from trajectory_msgs.msg import JointTrajectory as JointTrajectoryMsg
from trajectory_msgs.msg import JointTrajectoryPoint

from groot_ros.bridge import qos
from groot_ros.bridge.messages import ns_to_time
from groot_ros.control import JointTrajectory
from groot_ros.control.curve import Array
from groot_ros.core import NS_PER_S
from groot_ros.robot import Controller

_TYPES = {
    "joint_trajectory_controller": JointTrajectoryMsg,
    "forward_command_controller": Float64MultiArray,
}


class CommandOutputs:
    """Publishers for the controllers of a contract, until close()."""

    def __init__(self, node: Node, controllers: Iterable[Controller]) -> None:
        self._node = node
        self._publishers = {
            c.name: node.create_publisher(_TYPES[c.type], c.topic, qos.COMMAND) for c in controllers
        }

    @property
    def publishers(self) -> list[Publisher]:
        """One a controller."""
        return list(self._publishers.values())

    @property
    def topics(self) -> list[str]:
        """Full names of the command topics."""
        return [publisher.topic_name for publisher in self._publishers.values()]

    def send(self, trajectories: Iterable[JointTrajectory]) -> None:
        """Publish trajectories to their controllers."""
        for trajectory in trajectories:
            self._publishers[trajectory.controller].publish(trajectory_to_msg(trajectory))

    def stream(self, commands: Iterable[tuple[Controller, Array]]) -> None:
        """Publish positions of now to controllers that take no trajectories."""
        for controller, positions in commands:
            data = array("d", positions.tolist())
            self._publishers[controller.name].publish(Float64MultiArray(data=data))

    def close(self) -> None:
        """Publish nothing any more."""
        for publisher in self._publishers.values():
            self._node.destroy_publisher(publisher)
        self._publishers = {}


def trajectory_to_msg(trajectory: JointTrajectory) -> JointTrajectoryMsg:
    """The record as joint_trajectory_controller reads it; no accelerations, no effort."""
    msg = JointTrajectoryMsg(
        joint_names=list(trajectory.joint_names),
        points=[
            JointTrajectoryPoint(
                positions=array("d", positions.tolist()),
                velocities=array("d", velocities.tolist()),
                time_from_start=Duration(sec=offset // NS_PER_S, nanosec=offset % NS_PER_S),
            )
            for offset, positions, velocities in zip(
                trajectory.offsets_ns.tolist(),
                trajectory.positions,
                trajectory.velocities,
                strict=True,
            )
        ],
    )
    msg.header.stamp = ns_to_time(trajectory.stamp_ns)
    return msg
