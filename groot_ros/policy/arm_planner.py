# SPDX-License-Identifier: Apache-2.0
"""Plan the motion of an action on a table with the primitives of the robot's arm."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

from groot_ros.core import ToolPose
from groot_ros.families.family import PickPlace
from groot_ros.robot import RobotContract, Table

# The package imports mink, which other policies do not need.
if TYPE_CHECKING:
    from groot_ros.primitives import JointPath


class MotionPlanner(Protocol):
    """Planner of the motion between two poses.

    Attributes:
        table: the table on which the poses are.
        tool: "suction" or "spatula", as the model names it.

    """

    table: Table
    tool: str

    def poses(self, action: PickPlace) -> tuple[ToolPose, ToolPose]:
        """Return the poses of the tool for an action."""

    def plan(self, start: Mapping[str, float], action: PickPlace) -> "JointPath":
        """Return the path of all commanded joints from `start`, where the robot is at rest.

        Raises:
            ValueError: a pose cannot be reached; the message names pose and reason.

        """


class ArmPlanner:
    """See `MotionPlanner`: picks and places if the robot has a gripper, pushes if it has none."""

    def __init__(self, robot: RobotContract) -> None:
        """Read the model of the contract.

        Raises:
            ValueError: there is no table or model, it does not fit, or a package is missing.

        """
        try:
            from groot_ros.primitives import ArmKinematics
        except ImportError as error:
            raise ValueError(
                f"poses become joint positions by the package {error.name}: pip install "
                "'groot_ros[vima]'"
            ) from error
        self._kinematics = ArmKinematics(robot)
        self.table = self._kinematics.table
        self.tool = "suction" if self._kinematics.gripper else "spatula"

    def poses(self, action: PickPlace) -> tuple[ToolPose, ToolPose]:
        """See `MotionPlanner.poses`."""
        pick, place, table = action.pick, action.place, self.table
        pushes = self.tool == "spatula"
        heights = (table.push_height,) * 2 if pushes else (table.pick_height, table.place_height)
        return (
            ToolPose((pick.x, pick.y, heights[0]), pick.rotation),
            ToolPose((place.x, place.y, heights[1]), place.rotation),
        )

    def plan(self, start: Mapping[str, float], action: PickPlace) -> "JointPath":
        """See `MotionPlanner.plan`."""
        from groot_ros.primitives import plan_pick_place, plan_push

        plan = plan_push if self.tool == "spatula" else plan_pick_place
        return plan(self._kinematics, start, *self.poses(action))
