# SPDX-License-Identifier: Apache-2.0
"""Pick and place, and push: two poses of the tool to one joint path from rest to rest."""

from collections.abc import Mapping
from dataclasses import dataclass

from groot_ros.core import ToolPose
from groot_ros.primitives.joint_path import JointPath
from groot_ros.primitives.kinematics import ArmKinematics


@dataclass(frozen=True)
class MotionSettings:
    """How fast the primitives move.

    Attributes:
        speed: share of the contract's velocity limits that is used.
        acceleration: share of its acceleration limits that is used. The rest is a reserve for the
            executor, which blends chunks.
        tool_speed: largest speed of the tool on straight lines, m/s.
        dwell: time that the tool waits after its gripper or valve was switched, s.

    """

    speed: float = 0.7
    acceleration: float = 0.5
    tool_speed: float = 0.25
    dwell: float = 0.3


def plan_pick_place(
    kinematics: ArmKinematics,
    start: Mapping[str, float],
    pick: ToolPose,
    place: ToolPose,
    settings: MotionSettings | None = None,
) -> JointPath:
    """Plan to pick an object up at one pose and to put it down at another.

    The tool travels at the approach height of the table, moves straight down and up at both poses,
    closes its gripper (or opens its valve) at the first one and opens it at the second one.

    Args:
        kinematics: the arm.
        start: positions of all joints of `kinematics.joints`, rad or m; more are ignored. The arm
            is at rest there.
        pick, place: poses of the tool in the table frame.
        settings: speeds and waiting times.

    Returns:
        A path of `kinematics.joints`, with the marks "above_pick", "pick", "above_place", "place".

    Raises:
        UnreachableError: a pose is outside the table or cannot be reached; nothing is planned.

    """
    raise NotImplementedError


def plan_push(
    kinematics: ArmKinematics,
    start: Mapping[str, float],
    begin: ToolPose,
    end: ToolPose,
    settings: MotionSettings | None = None,
) -> JointPath:
    """Plan to push along a straight line from one pose to another.

    Args and Raises are those of plan_pick_place.

    Returns:
        A path of `kinematics.joints`, with the marks "above_begin", "begin", "end".

    """
    raise NotImplementedError
