# SPDX-License-Identifier: Apache-2.0
"""Action server of a gripper whose answers the test decides."""

from control_msgs.action import GripperCommand
from rclpy.action import ActionServer, CancelResponse, GoalResponse
from rclpy.node import Node


class ScriptedGripper:
    """Records goals and ends them on request.

    Attributes:
        accepts: whether the next goals are accepted.
        lets_cancel: whether a cancellation is accepted.
        goals: all goals received, in order.
        handles: of the accepted ones.
        cancelled: number of cancellations requested.

    """

    def __init__(self, node: Node, name: str, kind: type = GripperCommand) -> None:
        self.accepts = self.lets_cancel = True
        self.goals: list = []
        self.handles: list = []
        self.cancelled = 0
        self._kind = kind
        self._server = ActionServer(
            node,
            kind,
            name,
            execute_callback=lambda handle: None,
            goal_callback=self._on_goal,
            handle_accepted_callback=self.handles.append,
            cancel_callback=self._on_cancel,
        )

    def _on_goal(self, goal) -> GoalResponse:
        self.goals.append(goal)
        return GoalResponse.ACCEPT if self.accepts else GoalResponse.REJECT

    def _on_cancel(self, _) -> CancelResponse:
        self.cancelled += 1
        return CancelResponse.ACCEPT if self.lets_cancel else CancelResponse.REJECT

    def finish(self, index: int, how: str, position: float = 0.0, *, stalled: bool = False) -> None:
        """End an accepted goal: `how` is succeed, abort or canceled."""
        result = self._kind.Result(stalled=stalled, reached_goal=how == "succeed")
        if hasattr(result, "state"):
            result.state.position = [position]
        else:
            result.position = position

        def execute(handle):
            getattr(handle, how)()
            return result

        self.handles[index].execute(execute)

    def destroy(self) -> None:
        self._server.destroy()
