# SPDX-License-Identifier: Apache-2.0
"""Node that survives exceptions in its callbacks.

rclpy raises the exception of a callback from spin(), which ends the process. A GuardedNode logs
it and calls a hook instead; the next message is handled as usual.
"""

import difflib
import time
import traceback
from collections.abc import Callable
from functools import wraps
from threading import Condition
from typing import Any

from rcl_interfaces.msg import SetParametersResult
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.service import Service
from rclpy.subscription import Subscription
from rclpy.timer import Timer

from groot_ros.core import NS_PER_S
from groot_ros.observation.rejections import RejectionCounts

#: Time in which the same error is logged only once, ns.
_QUIET_NS = 5 * NS_PER_S


class GuardedNode(Node):
    """Node that guards every timer, subscription and service, including those of rclpy."""

    def __init__(self, name: str, **options: Any) -> None:
        self._errors = RejectionCounts(_QUIET_NS)
        self._calls = Condition()
        self._running_calls = 0
        self._draining = False
        super().__init__(name, **options)

    def on_internal_error(self, what: str) -> None:
        """React to an unexpected exception (hook); `what` is one line with its text and place."""

    def drain_callbacks(self, timeout: float) -> bool:
        """Start no further callback; return whether those running ended within `timeout` s.

        Before version 7.6 (ros2/rclpy#1309) rclpy's executors do not wait for their threads in
        shutdown(), so that a callback could use what is destroyed next.
        """
        with self._calls:
            self._draining = True
            return self._calls.wait_for(lambda: not self._running_calls, timeout)

    def handle_exception(self, where: str, error: Exception) -> None:
        """Log an exception and call on_internal_error(); log an exception of that, too."""
        what = f"{type(error).__name__} in {where}: {error}"
        self._log_exception(where, what, error)
        try:
            self.on_internal_error(what)
        except Exception as second:
            self._log_exception(
                f"the reaction to {where}", f"the reaction to it failed: {second}", second
            )

    def create_timer(
        self, timer_period_sec: float, callback: Callable[[], Any], *args: Any, **options: Any
    ) -> Timer:
        """Create a timer as rclpy does, with a guarded callback."""
        return super().create_timer(timer_period_sec, self.guarded(callback), *args, **options)

    def create_subscription(
        self, msg_type: Any, topic: str, callback: Callable[..., Any], *args: Any, **options: Any
    ) -> Subscription:
        """Create a subscription as rclpy does, with a guarded callback."""
        return super().create_subscription(
            msg_type, topic, self.guarded(callback), *args, **options
        )

    def create_service(
        self, srv_type: Any, srv_name: str, callback: Callable[..., Any], **options: Any
    ) -> Service:
        """Create a service as rclpy does, with a guarded callback that always answers."""
        return super().create_service(
            srv_type, srv_name, self.guarded(callback, answers=True), **options
        )

    def set_parameters_atomically(self, parameter_list: list[Parameter]) -> SetParametersResult:
        """Set parameters as rclpy does; a rejection of unknown ones names them.

        rclpy's own message lists none, as it reads a generator twice; still in 8.0.
        """
        known = self.list_parameters([], 0).names
        for parameter in parameter_list:
            if not self.has_parameter(parameter.name):
                near = difflib.get_close_matches(parameter.name, known, n=1)
                hint = f"; did you mean {near[0]}?" if near else ""
                return SetParametersResult(
                    successful=False,
                    reason=f"{self.get_name()} has no parameter {parameter.name}{hint}",
                )
        return super().set_parameters_atomically(parameter_list)

    def guarded(self, callback: Callable[..., Any], *, answers: bool = False) -> Callable[..., Any]:
        """Wrap a callback; with `answers` it returns its last argument after an exception."""

        # wraps() keeps the signature, which rclpy inspects.
        @wraps(callback)
        def guarded(*arguments: Any) -> Any:
            with self._calls:
                if self._draining:
                    return _failed(arguments[-1], "the node is shutting down") if answers else None
                self._running_calls += 1
            try:
                return callback(*arguments)
            except Exception as error:
                self.handle_exception(_name(callback), error)
                return _failed(arguments[-1]) if answers else None
            finally:
                with self._calls:
                    self._running_calls -= 1
                    self._calls.notify_all()

        return guarded

    def _log_exception(self, key: str, what: str, error: Exception) -> None:
        if self._errors.record_rejection(key, time.monotonic_ns()):
            trace = "".join(traceback.format_exception(error))
            self.get_logger().error(f"internal error: {what}\n{trace}")


def _failed(response: Any, why: str = "internal error: see the node's log") -> Any:
    """Mark the response, as far as the callback had filled it, as a failure."""
    if hasattr(response, "success"):
        response.success = False
    if hasattr(response, "message"):
        response.message = why
    return response


def _name(callback: Callable[..., Any]) -> str:
    inner = getattr(callback, "func", callback)
    return str(getattr(inner, "__name__", inner))
