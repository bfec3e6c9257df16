# SPDX-License-Identifier: Apache-2.0
"""Action server of a gripper of the simulated robot.

It answers as the real controllers do by default: a new goal ends the one in execution, and a joint
that stalls before its goal aborts it, with `stalled` in the result.
"""

from functools import partial
from math import isfinite
from typing import Any

from rclpy.action import ActionServer, CancelResponse, GoalResponse
from rclpy.clock import Clock, ClockType
from rclpy.node import Node

from groot_ros.bridge.gripper_action import GripperActionType, GripperOptions
from groot_ros.robot import Controller
from groot_ros.sim.controllers import GoalOutcome
from groot_ros.sim.robot import SimulatedRobot

#: s between two checks whether a goal has ended; the real controllers check at 20 Hz as well.
_PERIOD = 0.05


class GripperServer:
    """Passes goals to the simulated controller and reports how they end.

    All callbacks run in the node's thread; the robot has its own.
    """

    def __init__(
        self,
        node: Node,
        robot: SimulatedRobot,
        controller: Controller,
        kind: GripperActionType,
    ) -> None:
        self._robot = robot
        self._controller = controller
        self._kind = kind
        self._goal: Any = None
        self._server = ActionServer(
            node,
            kind.action_type(),
            controller.topic,
            # Not called: every goal is executed with its own callback when it ends.
            execute_callback=lambda handle: None,
            goal_callback=self._on_goal,
            handle_accepted_callback=self._on_accepted,
            cancel_callback=lambda _: CancelResponse.ACCEPT,
        )
        node.create_timer(_PERIOD, self._check, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def destroy(self) -> None:
        """Destroy the server, which the node does not do by itself."""
        self._server.destroy()

    def _on_goal(self, goal: Any) -> GoalResponse:
        position = self._kind.goal_position(goal)
        valid = position is not None and isfinite(position)
        return GoalResponse.ACCEPT if valid else GoalResponse.REJECT

    def _on_accepted(self, handle: Any) -> None:
        if self._goal is not None:
            self._end(GoalOutcome(reached_goal=False, stalled=False))
        self._goal = handle
        position = self._kind.goal_position(handle.request)
        assert position is not None
        options: GripperOptions = self._controller.options
        self._robot.accept_goal(self._controller.name, options.to_joint_position(position))

    def _check(self) -> None:
        if self._goal is None:
            return
        if self._goal.is_cancel_requested:
            self._robot.cancel_goal(self._controller.name)
            self._end(GoalOutcome(reached_goal=False, stalled=False))
        elif outcome := self._robot.goal_outcome(self._controller.name):
            self._end(outcome)

    def _end(self, outcome: GoalOutcome) -> None:
        """End the present goal, which is answered by the node's executor."""
        handle, self._goal = self._goal, None
        options: GripperOptions = self._controller.options
        (measured,) = self._robot.reading(self._controller.joints).positions.tolist()
        result = self._kind.to_result(
            self._controller.joints[0],
            options.to_goal_position(measured),
            stalled=outcome.stalled,
            reached_goal=outcome.reached_goal,
        )
        handle.execute(partial(_answer, result, outcome.reached_goal))


def _answer(result: Any, reached_goal: bool, handle: Any) -> Any:
    if handle.is_cancel_requested:
        handle.canceled()
    elif reached_goal:
        handle.succeed()
    else:
        handle.abort()
    return result
