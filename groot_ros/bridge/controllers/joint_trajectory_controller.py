# SPDX-License-Identifier: Apache-2.0
"""joint_trajectory_controller: receives trajectories, reports its reference."""

from array import array
from math import isfinite, nan
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from groot_ros.bridge.command_topic import TopicControllerType
from groot_ros.core import NS_PER_S
from groot_ros.robot.controller import StateTopic


class Trajectory(Protocol):
    """The part of control.JointTrajectory that the message needs."""

    @property
    def joint_names(self) -> tuple[str, ...]:
        """Joints in the controller's order, n."""

    @property
    def stamp_ns(self) -> int:
        """Absolute time of the first knot."""

    @property
    def offsets_ns(self) -> NDArray[np.int64]:
        """Times of the knots after the first one, [K]."""

    @property
    def positions(self) -> NDArray[np.float64]:
        """Knots, [K, n] rad or m."""

    @property
    def velocities(self) -> NDArray[np.float64]:
        """Knots, [K, n] rad/s or m/s."""


def state_topic(command_topic: str) -> str:
    """Return the topic on which the controller with this command topic reports its state."""
    namespace, slash, _ = command_topic.rpartition("/")
    return f"{namespace}{slash}controller_state"


def reference_of(msg: Any) -> dict[str, float]:
    """Return joint -> reference, rad or m, of a control_msgs/JointTrajectoryControllerState.

    Jazzy names the field `reference`, Humble has `desired` as well. Empty if the controller
    reports no reference, as it does after a NaN.
    """
    for name in ("reference", "desired"):
        positions = getattr(getattr(msg, name, None), "positions", ())
        if len(positions) == len(msg.joint_names):
            pairs = zip(msg.joint_names, positions, strict=True)
            return {joint: float(p) for joint, p in pairs if isfinite(p)}
    return {}


def speed_scaling_of(msg: Any) -> float | None:
    """Return the speed scaling of a control_msgs/JointTrajectoryControllerState.

    Humble has no such field; None then, and for a value that is not finite.
    """
    factor = float(getattr(msg, "speed_scaling_factor", nan))
    return factor if isfinite(factor) else None


class _JointTrajectoryController(TopicControllerType):
    command = "trajectory"
    default_topic = "joint_trajectory"

    def message_type(self) -> type:
        from trajectory_msgs.msg import JointTrajectory

        message: type = JointTrajectory
        return message

    def to_message(self, command: Trajectory) -> object:
        """Convert a trajectory to its message, without accelerations and efforts."""
        from builtin_interfaces.msg import Duration
        from trajectory_msgs.msg import JointTrajectoryPoint

        from groot_ros.bridge.messages import ns_to_time

        message = self.message_type()(
            joint_names=list(command.joint_names),
            points=[
                JointTrajectoryPoint(
                    positions=array("d", positions.tolist()),
                    velocities=array("d", velocities.tolist()),
                    time_from_start=Duration(sec=offset // NS_PER_S, nanosec=offset % NS_PER_S),
                )
                for offset, positions, velocities in zip(
                    command.offsets_ns.tolist(),
                    command.positions,
                    command.velocities,
                    strict=True,
                )
            ],
        )
        message.header.stamp = ns_to_time(command.stamp_ns)
        return message

    def state(self) -> StateTopic | None:
        """Return controller_state; None without control_msgs.

        A rejected command then shows only in the motion of the robot.
        """
        try:
            from control_msgs.msg import JointTrajectoryControllerState
        except ImportError:
            return None
        return StateTopic(
            JointTrajectoryControllerState, state_topic, reference_of, speed_scaling_of
        )


CONTROLLER_TYPE = _JointTrajectoryController()
