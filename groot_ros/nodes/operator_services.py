# SPDX-License-Identifier: Apache-2.0
"""The operator's services of the executor: stop, hold, emergency stop, resume, step, reset."""

from collections.abc import Callable

from rclpy.node import Node
from std_srvs.srv import SetBool, Trigger

from groot_ros.control import Executor
from groot_ros.core import ExecutorState


def motion_outlook(state: ExecutorState, *, active: bool, otherwise: str) -> str:
    """Return what the robot waits for; `otherwise` only if no other stop prevents motion."""
    if state.latched or state.hold:
        return f"it stays stopped: {state.reason}"
    if not active:
        return "it moves once the executor is active"
    return otherwise


class OperatorServices:
    """Services below the node's name; a hold and an emergency stop outlive a reconfiguration.

    Args:
        now: returns ROS time, ns.
        on_request: called after each request that was carried out, to publish its effect.

    Attributes:
        active: whether the executor takes chunks.
        single_step: whether it takes one chunk per step request.

    """

    def __init__(self, node: Node, now: Callable[[], int], on_request: Callable[[], None]) -> None:
        self._now = now
        self._on_request = on_request
        self._control: Executor | None = None
        self._held = self._estopped = False
        self.active = self.single_step = False
        # Requests that arrived while the node was busy are carried out in this order, whichever
        # came first: a stop must come after what lets the robot move.
        node.create_service(Trigger, "~/resume", self._on_resume)
        node.create_service(Trigger, "~/step", self._on_step)
        node.create_service(Trigger, "~/reset", self._on_reset)
        node.create_service(Trigger, "~/stop", self._on_stop)
        node.create_service(SetBool, "~/hold", self._on_hold)
        node.create_service(SetBool, "~/estop", self._on_estop)

    def set_executor(self, control: Executor | None) -> None:
        """Send requests to this executor; apply the present hold and emergency stop to it."""
        self._control = control
        if control is not None:
            control.hold(self._held, self._now())
            if self._estopped:
                control.estop(self._now())

    def _on_stop(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        if self._control is not None:
            self._control.instruct("", self._now())
        return self._answer(response, "stopped: the next instruction may move it")

    def _on_hold(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        if self._control is not None:
            self._held = request.data
            self._control.hold(request.data, self._now())
        return self._answer(response, "holding" if request.data else self._next_motion())

    def _on_estop(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        if not request.data:
            response.message = "an emergency stop is latched: call resume to leave it"
            return response
        if self._control is not None:
            self._estopped = True
            self._control.estop(self._now())
        return self._answer(response, "stopping; latched until resume")

    def _on_resume(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        if self._control is not None:
            self._estopped = False
            self._control.resume(self._now())
        return self._answer(response, self._next_motion())

    def _on_step(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        if not self.single_step:
            response.message = "parameter single_step is off: every chunk is executed"
            return response
        if self._control is not None:
            self._control.step(self._now())
        return self._answer(response, self._next_motion("the next chunk is executed to its end"))

    def _on_reset(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        if self._control is not None:
            self._control.reset(self._now())
        outlook = self._next_motion(
            "it moves again with the next chunk, if there is an instruction"
        )
        return self._answer(response, f"stopped; session and motion were reset; {outlook}")

    def _next_motion(self, otherwise: str = "") -> str:
        if self._control is None:
            return ""
        waiting = "call step for the next chunk" if self.single_step else ""
        return motion_outlook(
            self._control.state(self._now()),
            active=self.active,
            otherwise=otherwise or waiting or "the next chunk may move it",
        )

    def _answer(
        self, response: SetBool.Response | Trigger.Response, message: str
    ) -> SetBool.Response | Trigger.Response:
        if self._control is None:
            response.message = "not configured"
            return response
        self._on_request()
        response.success = True
        response.message = message
        return response
