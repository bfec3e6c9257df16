"""A node whose process does not end because one of its callbacks raised.

rclpy hands what a callback raises to whoever spins, and that is the end of the process. Here it
is told, and the node's own reaction follows; the next message gets its chance.
"""

import time
import traceback
from collections.abc import Callable
from functools import wraps
from threading import Condition
from typing import Any

from rclpy.node import Node
from rclpy.service import Service
from rclpy.subscription import Subscription
from rclpy.timer import Timer

from groot_ros.core import NS_PER_S
from groot_ros.observation.rejections import RejectionCounts

#: The same error is told with its trace once in so long.
_QUIET_NS = 5 * NS_PER_S


class GuardedNode(Node):
    """A node that guards every timer, subscription and service, those of rclpy itself too."""

    def __init__(self, name: str, **options: Any) -> None:
        self._errors = RejectionCounts(_QUIET_NS)
        self._calls = Condition()
        self._under_way = 0
        self._silent = False
        super().__init__(name, **options)

    def react(self, what: str) -> None:
        """Hook: something raised that nobody expected; `what` says where and what in one line."""

    def drain_callbacks(self, timeout: float) -> bool:
        """No callback begins any more; whether those under way ended within `timeout` s.

        rclpy's executors do not wait for their threads (jazzy: shutdown() looks at a flag that it
        has just set), and what these would use is destroyed next.
        """
        with self._calls:
            self._silent = True
            return self._calls.wait_for(lambda: not self._under_way, timeout)

    def caught(self, where: str, error: Exception) -> None:
        """Tell of an error and react to it; whatever the reaction itself raises is told, too."""
        what = f"{type(error).__name__} in {where}: {error}"
        self._tell_of(where, what, error)
        try:
            self.react(what)
        except Exception as second:
            self._tell_of(
                f"the reaction to {where}", f"the reaction to it failed: {second}", second
            )

    def create_timer(
        self, timer_period_sec: float, callback: Callable[[], Any], *args: Any, **options: Any
    ) -> Timer:
        """As rclpy's; the callback is guarded."""
        return super().create_timer(timer_period_sec, self._guarded(callback), *args, **options)

    def create_subscription(
        self, msg_type: Any, topic: str, callback: Callable[..., Any], *args: Any, **options: Any
    ) -> Subscription:
        """As rclpy's; the callback is guarded."""
        return super().create_subscription(
            msg_type, topic, self._guarded(callback), *args, **options
        )

    def create_service(
        self, srv_type: Any, srv_name: str, callback: Callable[..., Any], **options: Any
    ) -> Service:
        """As rclpy's; the callback is guarded, and the caller gets an answer in any case."""
        return super().create_service(
            srv_type, srv_name, self._guarded(callback, answers=True), **options
        )

    def _guarded(
        self, callback: Callable[..., Any], *, answers: bool = False
    ) -> Callable[..., Any]:
        # rclpy looks at a callback's signature, which wraps() hands on.
        @wraps(callback)
        def guarded(*arguments: Any) -> Any:
            with self._calls:
                if self._silent:
                    return _failed(arguments[-1], "the node ends") if answers else None
                self._under_way += 1
            try:
                return callback(*arguments)
            except Exception as error:
                self.caught(_name(callback), error)
                return _failed(arguments[-1]) if answers else None
            finally:
                with self._calls:
                    self._under_way -= 1
                    self._calls.notify_all()

        return guarded

    def _tell_of(self, key: str, what: str, error: Exception) -> None:
        if self._errors.add(key, time.monotonic_ns()):
            trace = "".join(traceback.format_exception(error))
            self.get_logger().error(f"internal error: {what}\n{trace}")


def _failed(response: Any, why: str = "internal error: the node's log has it") -> Any:
    """The answer as far as it had come, and not a success."""
    if hasattr(response, "success"):
        response.success = False
    if hasattr(response, "message"):
        response.message = why
    return response


def _name(callback: Callable[..., Any]) -> str:
    inner = getattr(callback, "func", callback)
    return str(getattr(inner, "__name__", inner))
