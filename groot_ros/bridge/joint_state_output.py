# SPDX-License-Identifier: Apache-2.0
"""Joint states for views: the committed and the proposed positions, drawn as ghosts of the robot."""

from array import array
from collections.abc import Iterable, Sequence

from rclpy.node import Node
from sensor_msgs.msg import JointState

from groot_ros.bridge import qos
from groot_ros.bridge.messages import ns_to_time
from groot_ros.core import ActionChunk, ActionKind

#: Topics of the executor's and of the policy's joint states.
COMMITTED, PROPOSED = "committed_joint_states", "proposed_joint_states"


class JointStateOutput:
    """Publisher of joint positions; without subscribers it costs one query of their number.

    Args:
        node: creates the publisher.
        topic: one of COMMITTED and PROPOSED.

    """

    def __init__(self, node: Node, topic: str) -> None:
        self._publisher = node.create_publisher(JointState, topic, qos.DRIVER)

    @property
    def subscribed(self) -> bool:
        """Return whether anything subscribes to the topic."""
        return bool(self._publisher.get_subscription_count())

    def publish(self, stamp_ns: int, names: Sequence[str], positions: Iterable[float]) -> None:
        """Publish positions, rad or m, of the named joints."""
        msg = JointState(name=list(names), position=array("d", positions))
        msg.header.stamp = ns_to_time(stamp_ns)
        self._publisher.publish(msg)


def last_step(chunk: ActionChunk) -> tuple[list[str], list[float]]:
    """Return the joints of a chunk and the positions of its last step, rad or m."""
    names: list[str] = []
    positions: list[float] = []
    for group in chunk.groups:
        if group.kind in (ActionKind.JOINT_POSITION, ActionKind.GRIPPER):
            names += group.names
            positions += group.values[-1].tolist()
    return names, positions
