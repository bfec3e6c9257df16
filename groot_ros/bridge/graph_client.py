# SPDX-License-Identifier: Apache-2.0
"""Client of a running graph for commands that are not nodes themselves: services and topics.

A service call has an answer, which a message on a topic has not. A call still needs its server to
be discovered first, in both directions: the client waits for the server, and sends a request again
that was not answered, because the server may not have discovered the client when it answered.

Discovery takes longer than everything else: each node describes some fifty topics and services,
and what does not fit into the receive buffer of the client is repeated after seconds. The DDS
profile of the client, config/fastdds_commands.xml, has a larger buffer.
"""

import os
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import rclpy
from rclpy.client import Client
from rclpy.exceptions import InvalidNamespaceException
from rclpy.executors import SingleThreadedExecutor
from rclpy.task import Future

from groot_ros.core.share import dds_profile

#: s between two looks whether a service was discovered: rclpy's wait_for_service takes 0.25 s.
_DISCOVERY_POLL = 0.005
#: s between two looks whether the client was closed.
_SPIN_PERIOD = 0.02
#: s after which an unanswered request is sent again.
_REPEAT_PERIOD = 1.0


@dataclass(frozen=True)
class ServiceCall:
    """A request to one service.

    Attributes:
        service: name of the service, relative to the namespace of the client.
        service_type: type of the service, such as std_srvs.srv.Trigger.
        request: the request.
        repeatable: whether the request may be carried out twice, and later than an answer to it.

    """

    service: str
    service_type: Any
    request: Any
    repeatable: bool = True


class NoAnswerError(RuntimeError):
    """There is no such service, or it did not answer; one line with what was looked for."""


class GraphClient:
    """Node with its own context and thread; use it as a context manager.

    Args:
        namespace: namespace of the graph.
        name: name of the node.

    Attributes:
        node: the node; its callbacks are called in the thread.

    Raises:
        ValueError: the namespace is not a ROS name, or rcl rejects the environment.

    """

    def __init__(self, namespace: str = "", name: str = "groot_ros_client") -> None:
        os.environ.update(dds_profile("fastdds_commands.xml"))
        self._context = initialised_context()
        try:
            self.node = rclpy.create_node(
                name,
                context=self._context,
                namespace=namespace,
                use_global_arguments=False,
                start_parameter_services=False,
                enable_rosout=False,
            )
        except InvalidNamespaceException:
            rclpy.shutdown(context=self._context)
            raise ValueError(
                f"namespace '{namespace}' is not a ROS name: use letters, digits and _ between "
                "slashes"
            ) from None
        self._ended = threading.Event()
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)
        self._thread = threading.Thread(
            target=spin_until, args=(self._executor, self._ended), name=name, daemon=True
        )
        self._thread.start()

    def __enter__(self) -> "GraphClient":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the thread and destroy the node."""
        self._ended.set()
        self._thread.join(timeout=5.0)
        self._executor.shutdown(timeout_sec=2.0)
        self.node.destroy_node()
        rclpy.shutdown(context=self._context)

    def call(self, calls: Sequence[ServiceCall], timeout: float = 3.0) -> list[Any | NoAnswerError]:
        """Call services at the same time; return the response of each, or why there is none.

        Args:
            calls: the requests.
            timeout: s until a service must be discovered, and from then until it must answer.

        """
        create = self.node.create_client
        pending = [_PendingCall(create(each.service_type, each.service), each) for each in calls]
        deadline = time.monotonic() + timeout
        while True:
            now = time.monotonic()
            for each in pending:
                each.advance(now, timeout)
            waiting = [each for each in pending if not each.ended(now, deadline)]
            if not waiting:
                break
            time.sleep(_DISCOVERY_POLL)
        results: list[Any | NoAnswerError] = []
        for each in pending:
            response = each.response
            results.append(self._no_answer(each, timeout) if response is None else response)
            self.node.destroy_client(each.client)
        return results

    def _no_answer(self, pending: "_PendingCall", timeout: float) -> NoAnswerError:
        name = self.node.resolve_service_name(pending.call.service)
        namespace = self.node.get_namespace()
        where = f"namespace '{namespace}', ROS_DOMAIN_ID {os.environ.get('ROS_DOMAIN_ID') or '0'}"
        if pending.was_ready:
            later = "" if pending.call.repeatable else "; it may still carry out the request"
            return NoAnswerError(f"{name} did not answer within {timeout:g} s ({where}){later}")
        services = self.node.get_service_names_and_types()
        wanted = _type_name(pending.call.service_type)
        there = sorted({t for other, types in services if other == name for t in types} - {wanted})
        if there:
            return NoAnswerError(
                f"{name} has the type {', '.join(there)}, not {wanted} ({where}): the node is of "
                "another version; use the same one for node and command"
            )
        found = [
            other
            for other, _ in services
            if other.endswith(f"/{pending.call.service}") and other != name
        ]
        hint = "start the node, or give --namespace"
        if found:
            hint = f"in other namespaces there is {', '.join(sorted(found))}: give --namespace"
        return NoAnswerError(f"no service {name} within {timeout:g} s ({where}); {hint}")


def _type_name(service_type: Any) -> str:
    """Return the name of a service type as the graph has it, such as std_srvs/srv/Trigger."""
    package = service_type.__module__.partition(".srv")[0]
    return f"{package}/srv/{service_type.__name__}"


def initialised_context() -> rclpy.Context:
    """Return a context for nodes of a command; ValueError, one line, if rcl rejects it.

    The usual reason is a ROS_DOMAIN_ID that is not a number.
    """
    context = rclpy.Context()
    try:
        # Without arguments: those of the command line are not those of a node.
        rclpy.init(args=[], context=context)
    except RuntimeError as error:
        raise ValueError(f"ROS 2 cannot be started: {str(error).splitlines()[0]}") from error
    return context


def spin_until(executor: SingleThreadedExecutor, ended: threading.Event) -> None:
    """Spin until the event is set.

    Executor.spin() cannot be used instead: shutdown() in another thread does not wait for it, as it
    tests a flag that it has just set, and destroys objects that spin() uses. Still in rclpy 8.0.
    """
    while not ended.is_set():
        executor.spin_once(timeout_sec=_SPIN_PERIOD)


class _PendingCall:
    """One call between the search for its service and its answer."""

    def __init__(self, client: Client, call: ServiceCall) -> None:
        self.client = client
        self.call = call
        self._futures: list[Future] = []
        self._sent = 0.0
        self._answer_by = 0.0

    @property
    def was_ready(self) -> bool:
        """Return whether the service was found."""
        return bool(self._futures)

    @property
    def response(self) -> Any:
        """Return the first response, or None."""
        return next((f.result() for f in self._futures if f.done()), None)

    def advance(self, now: float, timeout: float) -> None:
        """Send the request once the service is found, and again if it is not answered."""
        if not self._futures:
            if self.client.service_is_ready():
                self._send(now)
                self._answer_by = now + timeout
        elif self.call.repeatable and now - self._sent > _REPEAT_PERIOD and self.response is None:
            self._send(now)

    def ended(self, now: float, discovery_deadline: float) -> bool:
        """Return whether there is a response, or none will come in time."""
        if self._futures:
            return self.response is not None or now > self._answer_by
        return now > discovery_deadline

    def _send(self, now: float) -> None:
        self._futures.append(self.client.call_async(self.call.request))
        self._sent = now
