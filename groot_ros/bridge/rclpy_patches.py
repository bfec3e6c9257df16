# SPDX-License-Identifier: Apache-2.0
"""Workarounds for rclpy: all code that uses its internals or hides differences of its versions.

Each entry says why it is here and which rclpy no longer needs it. Humble has rclpy 3.3, Jazzy 7.1;
"still in 8.0" means that the newest source that was checked, rclpy 8.0, needs it as well.
"""

import threading
from collections.abc import Callable
from typing import Any

from lifecycle_msgs.srv import ChangeState
from rclpy.exceptions import InvalidHandle
from rclpy.executors import Executor
from rclpy.lifecycle import LifecycleNodeMixin
from rclpy.subscription import Subscription

# rclpy 4.0 moved the event classes to event_handler: only Humble needs the second form.
try:
    from rclpy.event_handler import (
        PublisherEventCallbacks,
        QoSMessageLostInfo,
        SubscriptionEventCallbacks,
    )
except ImportError:
    from rclpy.qos_event import (
        PublisherEventCallbacks,
        QoSMessageLostInfo,
        SubscriptionEventCallbacks,
    )

# The error of an impossible lifecycle transition has no public name, still in 8.0.
try:
    from rclpy.impl.implementation_singleton import rclpy_implementation

    _RCLError: type[Exception] = rclpy_implementation.RCLError
except (ImportError, AttributeError):
    _RCLError = InvalidHandle

__all__ = [
    "HAS_RECEPTION_TIME",
    "NO_PUBLISHER_EVENTS",
    "NO_SUBSCRIPTION_EVENTS",
    "QoSMessageLostInfo",
    "SubscriptionEventCallbacks",
    "guard_change_state",
    "lifecycle_state",
    "spin_once",
    "spin_until",
    "with_publication_number",
]

#: For publishers and subscriptions that are destroyed while the node spins. The executor enters
#: every event handler's handle twice and catches InvalidHandle only the first time, so a handler
#: that is destroyed in between ends the spin. No event is missed where the QoS requests the least
#: or offers the most, as it is always compatible. Still in 8.0.
NO_PUBLISHER_EVENTS = PublisherEventCallbacks(use_default_callbacks=False)
NO_SUBSCRIPTION_EVENTS = SubscriptionEventCallbacks(use_default_callbacks=False)

#: Whether a subscription callback may take the reception time: since rclpy 3.4, not in Humble.
HAS_RECEPTION_TIME = hasattr(Subscription, "CallbackType")


def with_publication_number(callback: Callable[[Any, int | None], None]) -> Callable[..., None]:
    """Return a subscription callback that passes the publisher's number of the message as well.

    The number is None in Humble, whose rclpy gives no information about a message, and with an RMW
    that does not transport it (Cyclone DDS).
    """
    if HAS_RECEPTION_TIME:

        def numbered(msg: Any, info: dict[str, Any]) -> None:
            callback(msg, info.get("publication_sequence_number"))

        found: Callable[..., None] = numbered
    else:

        def unnumbered(msg: Any) -> None:
            callback(msg, None)

        found = unnumbered
    found.__name__ = getattr(getattr(callback, "func", callback), "__name__", found.__name__)
    return found


def lifecycle_state(node: LifecycleNodeMixin) -> int:
    """Return the id of the node's lifecycle state (lifecycle_msgs/State).

    A node has no public accessor for it, still in 8.0.
    """
    return int(node._state_machine.current_state[0])


def guard_change_state(
    node: LifecycleNodeMixin,
    guard: Callable[[Callable[..., Any]], Callable[..., Any]],
    on_rejected: Callable[[str], None],
) -> None:
    """Let the change_state service answer an impossible transition instead of raising.

    Before rclpy 8.0 (ros2/rclpy#1319) the state machine's error escapes from the service callback
    and ends the process: `ros2 lifecycle set` with a wrong transition would end a robot's node.

    Args:
        node: after its LifecycleNodeMixin was initialised.
        guard: wraps the service's callback; rclpy creates this service without the node's own
            create_service.
        on_rejected: called with the first line of the error.

    """
    service = node._service_change_state
    change_state = service.callback

    def answer_always(
        request: ChangeState.Request, response: ChangeState.Response
    ) -> ChangeState.Response:
        try:
            return change_state(request, response)
        except _RCLError as error:
            on_rejected(str(error).splitlines()[0])
            response.success = False
            return response

    service.callback = guard(answer_always)


def spin_once(executor: Executor, timeout: float, on_destroyed: Callable[[str], None]) -> None:
    """Spin once, and ignore the error if an entity is destroyed during the executor's checks.

    The executor raises InvalidHandle where a lifecycle transition in another thread destroys an
    entity between its checks; the next spin no longer finds it. Still in 8.0.
    """
    try:
        executor.spin_once(timeout_sec=timeout)
    except InvalidHandle as error:
        on_destroyed(str(error))


def spin_until(executor: Executor, ended: threading.Event, period: float = 0.1) -> None:
    """Spin until the event is set; the event is checked at least every `period` s.

    Executor.spin() cannot be used instead: shutdown() in another thread does not wait for it, as it
    tests a flag that it has just set, and destroys objects that spin() uses. Still in 8.0.
    """
    while not ended.is_set():
        executor.spin_once(timeout_sec=period)
