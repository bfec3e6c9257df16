# SPDX-License-Identifier: Apache-2.0
"""Joint states for views: committed and proposed positions, drawn as ghosts of the robot."""

from array import array
from collections.abc import Iterable, Mapping

from rclpy.node import Node
from sensor_msgs.msg import JointState

from groot_ros.bridge import qos
from groot_ros.bridge.messages import ns_to_time
from groot_ros.core import ActionChunk, ActionKind


class JointStateOutput:
    """Publisher of joint positions; without subscribers it costs one query of their number.

    Args:
        node: creates the publisher.
        topic: its name.

    """

    def __init__(self, node: Node, topic: str) -> None:
        self._publisher = node.create_publisher(JointState, topic, qos.DRIVER)

    @property
    def subscribed(self) -> bool:
        """Return whether anything subscribes to the topic."""
        return bool(self._publisher.get_subscription_count())

    def publish(self, stamp_ns: int, positions: Mapping[str, float]) -> None:
        """Publish joint -> position, rad or m."""
        msg = JointState(name=list(positions), position=array("d", positions.values()))
        msg.header.stamp = ns_to_time(stamp_ns)
        self._publisher.publish(msg)


def last_step(chunk: ActionChunk, order: Iterable[str]) -> dict[str, float]:
    """Return joint -> position in the last step of a chunk, rad or m.

    `order` names all joints; those that the chunk does not move are left out.
    """
    ends = {
        joint: float(position)
        for group in chunk.groups
        if group.kind in (ActionKind.JOINT_POSITION, ActionKind.GRIPPER)
        for joint, position in zip(group.names, group.values[-1], strict=True)
    }
    return {joint: ends[joint] for joint in order if joint in ends}
