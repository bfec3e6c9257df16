# SPDX-License-Identifier: Apache-2.0
"""gripper_action_controller: moves one joint to the goals of a GripperCommand action."""

from typing import Any

from groot_ros.bridge.gripper_action import GripperActionType


class _GripperActionController(GripperActionType):
    action = "GripperCommand"

    def to_goal(self, joint: str, position: float, max_effort: float | None) -> Any:
        """Return the goal; an effort of 0 stands for the controller's own."""
        goal = self.action_type().Goal()
        goal.command.position = position
        goal.command.max_effort = 0.0 if max_effort is None else max_effort
        return goal

    def goal_position(self, goal: Any) -> float | None:
        """Return the position of a goal."""
        return float(goal.command.position)

    def to_result(self, joint: str, position: float, *, stalled: bool, reached_goal: bool) -> Any:
        """Return the result, without an effort."""
        return self.action_type().Result(
            position=position, stalled=stalled, reached_goal=reached_goal
        )

    def measured_position(self, result: Any) -> float | None:
        """Return the position of the result."""
        return float(result.position)


CONTROLLER_TYPE = _GripperActionController()
