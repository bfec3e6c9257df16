# SPDX-License-Identifier: Apache-2.0
"""Workarounds for rclpy: all code that uses its internals or hides differences of its versions.

Each entry says why it is here and which rclpy no longer needs it. Humble has rclpy 3.3, Jazzy 7.1;
"still in 8.0" means that the newest source that was checked, rclpy 8.0, needs it as well.
"""

import threading
import time
from collections.abc import Callable
from functools import cache
from typing import Any
from weakref import WeakSet

from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rclpy.action import ActionClient
from rclpy.callback_groups import CallbackGroup
from rclpy.exceptions import InvalidHandle
from rclpy.executors import Executor, MultiThreadedExecutor, SingleThreadedExecutor
from rclpy.lifecycle import LifecycleNodeMixin
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.service import Service
from rclpy.subscription import Subscription

# rclpy 4.0 moved the event classes to event_handler: only Humble needs the second form.
try:
    from rclpy.event_handler import (
        EventHandler,
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
    from rclpy.qos_event import QoSEventHandler as EventHandler

from rclpy.impl.implementation_singleton import rclpy_implementation

# The error of an impossible lifecycle transition has no public name, still in 8.0.
try:
    _RCLError: type[Exception] = rclpy_implementation.RCLError
except AttributeError:
    _RCLError = InvalidHandle

__all__ = [
    "HAS_RECEPTION_TIME",
    "NO_PUBLISHER_EVENTS",
    "NO_SUBSCRIPTION_EVENTS",
    "ClockThread",
    "FrugalExecutor",
    "QoSMessageLostInfo",
    "SubscriptionEventCallbacks",
    "deliver",
    "guard_change_state",
    "lifecycle_state",
    "poll",
    "shut_down",
    "spin_once",
    "store_as_double",
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


def store_as_double(parameter: Parameter) -> None:
    """Change an integer parameter, as it is set or stored, into a double.

    rclpy stores the type that a client sent, where it is allowed to send either: tools that plot
    the parameter then see its type change. A callback before the change, which could replace the
    value, is not in Humble.
    """
    parameter._value, parameter._type_ = float(parameter.value), Parameter.Type.DOUBLE


def lifecycle_state(node: LifecycleNodeMixin) -> int:
    """Return the id of the node's lifecycle state (lifecycle_msgs/State).

    A node has no public accessor for it, still in 8.0.
    """
    return int(node._state_machine.current_state[0])


#: Number -> name of the transitions that can be requested.
_TRANSITIONS = {
    Transition.TRANSITION_CONFIGURE: "configure",
    Transition.TRANSITION_CLEANUP: "cleanup",
    Transition.TRANSITION_ACTIVATE: "activate",
    Transition.TRANSITION_DEACTIVATE: "deactivate",
    Transition.TRANSITION_UNCONFIGURED_SHUTDOWN: "shutdown",
    Transition.TRANSITION_INACTIVE_SHUTDOWN: "shutdown",
    Transition.TRANSITION_ACTIVE_SHUTDOWN: "shutdown",
}


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
        on_rejected: called with one line: the transition, the state, and what is possible. rcl is
            not asked for a transition that is not: its own message names neither.

    """
    service = node._service_change_state
    change_state = service.callback

    def answer_always(
        request: ChangeState.Request, response: ChangeState.Response
    ) -> ChangeState.Response:
        if problem := _impossible_transition(node, request.transition):
            on_rejected(problem)
            response.success = False
            return response
        try:
            return change_state(request, response)
        except _RCLError as error:
            on_rejected(str(error).splitlines()[0])
            response.success = False
            return response

    service.callback = guard(answer_always)


def _impossible_transition(node: LifecycleNodeMixin, wanted: Transition) -> str:
    """Return why the transition cannot happen now, or an empty string.

    The available transitions have no public accessor, still in 8.0.
    """
    machine = node._state_machine
    possible = {number: label for number, label, *_ in machine.available_transitions}
    # As in rclpy, a label has priority.
    if (wanted.label in possible.values()) if wanted.label else (wanted.id in possible):
        return ""
    name = wanted.label or _TRANSITIONS.get(wanted.id, f"number {wanted.id}")
    there = ", ".join(label for number, label in possible.items() if number in _TRANSITIONS)
    state = machine.current_state[1]
    return f"{name} is not possible while {state}; possible: {there or 'nothing'}"


#: Packages of the services that rclpy creates for every node.
_RARE_SERVICES = ("rcl_interfaces", "lifecycle_msgs", "type_description_interfaces")
#: Types of entities that are rarely ready. A tuple, as each wait makes about fifty checks, and each
#: would build a union.
_RARE_TYPES = (EventHandler, ActionClient)
#: s for which rarely used entities may wait while the node is busy, and without a callback after
#: which it no longer counts as busy.
_RARE_PERIOD, _BUSY = 0.05, 0.03
#: Messages of a polled subscription that are delivered at a time: more would delay the timer.
_MAX_DELIVERED = 10
_POLLED = WeakSet[Subscription]()


class FrugalExecutor(SingleThreadedExecutor):
    """Executor that needs about half the processor time in a node with a fast timer.

    rclpy builds a new wait set of all entities for each wait, and lets every callback wake the
    executor twice, although the thread that would be woken is the one that runs the callback: each
    callback costs two waits. This one is not woken by its own thread, and while callbacks follow
    each other quickly it waits only every 50 ms for QoS events, the services of rclpy (parameters,
    lifecycle), action clients, and subscriptions that a timer polls. Still in 8.0; the
    EventsExecutor of later versions has a timer whose jitter is several milliseconds.

    It must be spun in the thread that creates it.
    """

    def __init__(self) -> None:
        super().__init__()
        self._includes_rare = True
        self._now = self._rare_included = self._callback_found = 0.0
        own, guard = threading.get_ident(), self._guard
        wake = guard.trigger
        # What a callback adds is seen when the next wait set is built.
        setattr(guard, "trigger", lambda: threading.get_ident() == own or wake())  # noqa: B010

    def wait_for_ready_callbacks(self, *args: Any, **options: Any) -> Any:
        """Return the next callback, as rclpy does."""
        self._now = time.monotonic()
        busy = self._now - self._callback_found < _BUSY
        self._includes_rare = not busy or self._now - self._rare_included > _RARE_PERIOD
        found: Any = super().wait_for_ready_callbacks(*args, **options)
        self._callback_found = time.monotonic()
        return found

    def can_execute(self, entity: Any) -> bool:
        """Return whether to wait for an entity now; rclpy asks before each wait."""
        if self._includes_rare:
            self._rare_included = self._now
        elif (
            isinstance(entity, _RARE_TYPES)
            or (isinstance(entity, Service) and _is_rare(entity.srv_type))
            or (isinstance(entity, Subscription) and entity in _POLLED)
        ):
            return False
        return bool(super().can_execute(entity))


def poll(subscription: Subscription) -> None:
    """Let the FrugalExecutor wait only rarely for a subscription that `deliver` polls."""
    _POLLED.add(subscription)


def deliver(subscription: Subscription) -> None:
    """Pass the messages that have arrived to the subscription's callback.

    rclpy has no public way to take a message without waiting for it, still in 8.0. Call it in the
    thread of the node's callbacks.
    """
    with_info = (
        HAS_RECEPTION_TIME
        and subscription._callback_type is not Subscription.CallbackType.MessageOnly
    )
    for _ in range(_MAX_DELIVERED):
        with subscription.handle:
            taken = subscription.handle.take_message(subscription.msg_type, subscription.raw)
        if taken is None:
            return
        subscription.callback(*(taken if with_info else taken[:1]))


#: s between two readings of /clock, at least: a clock at 1000 Hz is read at less than 500 Hz.
_CLOCK_PERIOD = 0.002
#: ns after which the thread of the clock checks whether it is to end.
_CLOCK_POLL_NS = 100_000_000


class _NoExecutor(CallbackGroup):
    """Callback group of entities for which no executor waits."""

    def can_execute(self, entity: Any) -> bool:
        """Return False: executors leave such entities out of their wait sets."""
        return False

    def beginning_execution(self, entity: Any) -> bool:
        """Return False."""
        return False

    def ending_execution(self, entity: Any) -> None:
        """Do nothing."""


class ClockThread:
    """Read /clock in a separate thread, as rclcpp does, while the node uses sim time.

    rclpy subscribes to /clock in the node's executor, where each message costs two to three waits
    for all entities of the node, still in 8.0. A MultiThreadedExecutor even spins: while a message
    waits for a thread of the pool, the event handler of its subscription ends each wait
    immediately, because Fast DDS reports unread data to it. This thread waits for the clock only.
    Create it before the node is added to an executor; without `use_sim_time` it does nothing.
    """

    def __init__(self, node: Node) -> None:
        self._context = node.context
        self._logger = node.get_logger()
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        found = [s for s in node.subscriptions if s.topic_name == "/clock"]
        if not found:
            return
        self._subscription = found[0]
        # A list in all versions; rclpy declares its element type.
        handlers: Any = self._subscription.event_handlers
        for entity in (self._subscription, *handlers):
            entity.callback_group = _NoExecutor()
        self._thread = threading.Thread(target=self._run, name="clock", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread; call it before the node is destroyed."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        try:
            while not self._ended.wait(_CLOCK_PERIOD) and self._context.ok():
                self._wait()
                try:
                    deliver(self._subscription)
                except ValueError as error:  # a time before 0 or beyond int64
                    self._logger.error(
                        f"/clock: message ignored: {error}", throttle_duration_sec=5.0
                    )
        except InvalidHandle:
            # use_sim_time was set to false, or the context was shut down meanwhile, as by a node
            # that ends its process itself. A later subscription is one of the executor.
            return
        except _RCLError:
            if self._context.ok() and not self._ended.is_set():
                raise

    def _wait(self) -> None:
        context: Any = self._context.handle
        with self._subscription.handle, context:
            wait_set = rclpy_implementation.WaitSet(1, 0, 0, 0, 0, 0, context)
            wait_set.clear_entities()
            wait_set.add_subscription(self._subscription.handle)
            wait_set.wait(_CLOCK_POLL_NS)


@cache
def _is_rare(service_type: type) -> bool:
    return service_type.__module__.startswith(_RARE_SERVICES)


def spin_once(executor: Executor, timeout: float, on_destroyed: Callable[[str], None]) -> None:
    """Spin once, and ignore the error if an entity is destroyed during the executor's checks.

    The executor raises InvalidHandle where a lifecycle transition in another thread destroys an
    entity between its checks; the next spin no longer finds it. Still in 8.0.
    """
    try:
        executor.spin_once(timeout_sec=timeout)
    except InvalidHandle as error:
        on_destroyed(str(error))


def shut_down(executor: Executor, timeout: float, on_error: Callable[[str], None]) -> None:
    """Shut the executor down, wait for its callbacks, and report the errors of the last ones.

    rclpy prints those of a MultiThreadedExecutor without a word about the node, when the process
    ends: mostly that an entity was destroyed while its callback waited for a thread. Still in 8.0.
    """
    executor.shutdown(timeout_sec=timeout)
    if isinstance(executor, MultiThreadedExecutor):
        executor._executor.shutdown()
        for task in executor._futures:
            if error := task.exception():
                on_error(str(error))
