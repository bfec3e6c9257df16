# SPDX-License-Identifier: Apache-2.0
"""parallel_gripper_action_controller: moves one joint to the goals of a ParallelGripperCommand."""

from typing import Any

from groot_ros.bridge.gripper_action import GripperActionType


class _ParallelGripperActionController(GripperActionType):
    action = "ParallelGripperCommand"

    def to_goal(self, joint: str, position: float, max_effort: float | None) -> Any:
        """Return the goal; without an effort the controller uses its own."""
        goal = self.action_type().Goal()
        goal.command.name = [joint]
        goal.command.position = [position]
        goal.command.effort = [] if max_effort is None else [max_effort]
        return goal

    def goal_position(self, goal: Any) -> float | None:
        """Return the position of a goal; the real controller rejects other numbers of positions."""
        positions = goal.command.position
        return float(positions[0]) if len(positions) == 1 else None

    def to_result(self, joint: str, position: float, *, stalled: bool, reached_goal: bool) -> Any:
        """Return the result with the joint's state."""
        result = self.action_type().Result(stalled=stalled, reached_goal=reached_goal)
        result.state.name, result.state.position = [joint], [position]
        return result

    def measured_position(self, result: Any) -> float | None:
        """Return the position of the result; None if it states none."""
        positions = result.state.position
        return float(positions[0]) if len(positions) else None


CONTROLLER_TYPE = _ParallelGripperActionController()
