# SPDX-License-Identifier: Apache-2.0
"""Connection of a pick-and-place policy to the graph: the executor's reports in, its poses out."""

from geometry_msgs.msg import Point, Pose, PoseArray, Quaternion
from rclpy.node import Node

from groot_ros.bridge import qos
from groot_ros.bridge.messages import ns_to_time
from groot_ros.core import CommittedTimeline, ToolPose, time_to_ns
from groot_ros.msg import ExecutorState
from groot_ros.policy.path_stream import ExecutionReport
from groot_ros.policy.pick_place import PickPlacePolicy

#: Topic with the two poses of the newest action, for views.
POSES = "pick_place_poses"


class PickPlaceLink:
    """Gives the policy what the executor publishes, and publishes its poses, until close().

    Args:
        node: has the publisher and the clock.
        policy: the policy.
        frame: name of the table frame.

    """

    def __init__(self, node: Node, policy: PickPlacePolicy, frame: str) -> None:
        self._node, self._policy, self._frame = node, policy, frame
        self._poses = node.create_publisher(PoseArray, POSES, qos.LATCHED)
        policy.clock = self._now
        policy.on_action = self._publish_poses

    @property
    def action_rejection(self) -> str:
        """Return why the last action was not executed; empty if it is."""
        return self._policy.action_rejection

    def set_timeline(self, timeline: CommittedTimeline) -> None:
        """Give the policy the motion from which the next path starts."""
        self._policy.set_timeline(timeline)

    def on_executor_state(self, msg: ExecutorState) -> None:
        """Give the policy the state of the executor, which ends the motion when it stops."""
        stop = ""
        if msg.estop:
            stop = "estopped"
        elif msg.hold:
            stop = "on_hold"
        elif msg.latched:
            stop = "executor_stopped"
        self._policy.record_executor(
            ExecutionReport(
                time_to_ns(msg.header.stamp),
                msg.status == ExecutorState.RUNNING,
                stop,
                msg.reason,
                msg.speed_scaling,
            )
        )

    def close(self) -> None:
        """Destroy the publisher."""
        self._policy.on_action = lambda _: None
        self._node.destroy_publisher(self._poses)

    def _publish_poses(self, poses: tuple[ToolPose, ToolPose]) -> None:
        msg = PoseArray(poses=[_pose(pose) for pose in poses])
        msg.header.frame_id = self._frame
        msg.header.stamp = ns_to_time(self._now())
        self._poses.publish(msg)

    def _now(self) -> int:
        return int(self._node.get_clock().now().nanoseconds)


def _pose(pose: ToolPose) -> Pose:
    (x, y, z), (qx, qy, qz, qw) = pose.position, pose.rotation
    return Pose(position=Point(x=x, y=y, z=z), orientation=Quaternion(x=qx, y=qy, z=qz, w=qw))
