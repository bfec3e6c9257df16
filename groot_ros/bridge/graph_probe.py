# SPDX-License-Identifier: Apache-2.0
"""Observe a running graph: nodes and their parameters, inputs of the contract, controllers.

It gathers facts only; `groot_ros/checks` judges them.
"""

import os
import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import rclpy
from lifecycle_msgs.srv import GetState
from rcl_interfaces.srv import GetParameters
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter, parameter_value_to_python
from sensor_msgs.msg import CompressedImage, Image, JointState

from groot_ros.bridge import qos, rclpy_patches
from groot_ros.bridge.command_topic import type_name
from groot_ros.bridge.competing_inputs import CompetingInput
from groot_ros.bridge.graph_monitor import publishers_of
from groot_ros.bridge.live_graph import published_topics
from groot_ros.bridge.messages import time_to_ns
from groot_ros.control.settings import ExecutorConfig
from groot_ros.core import PolicyConfig, ns_to_s
from groot_ros.core.config import parameters_of
from groot_ros.core.live_graph import (
    ImageForm,
    LiveController,
    LiveGraph,
    LiveInput,
    LiveNode,
    similar_topics,
)
from groot_ros.msg import ExecutorState
from groot_ros.robot import Camera, JointStateSource, RobotContract
from groot_ros.robot.controller import Controller, controller_type

#: Nodes that are looked for, and the configuration whose parameters they have.
_CONFIGS: Mapping[str, type] = {"policy_node": PolicyConfig, "executor_node": ExecutorConfig}
#: Longest time of discovery, and the time without a change after which it ends once both nodes have
#: been found, s.
_DISCOVERY, _SETTLED = 4.0, 0.5
#: Longest time that a node may take to answer, s.
_ANSWER = 2.0
#: Forms of images that are kept for each camera.
_MAX_FORMS = 4
#: Nodes that subscribe to commands without executing them.
_LISTENERS = ("recorder_node", "rosbag2_recorder", "foxglove_bridge", "_ros2cli")


class GraphProbe:
    """Node with its own context and thread; use it as a context manager.

    Args:
        namespace: of the nodes that are looked for.

    """

    def __init__(self, namespace: str = "") -> None:
        self._context = rclpy.Context()
        rclpy.init(context=self._context)
        # The number lets two probes run at the same time.
        name = f"groot_ros_doctor_{os.getpid()}"
        self._node = rclpy.create_node(name, context=self._context, namespace=namespace)
        self._ended = threading.Event()
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self._node)
        self._latched_stop = ""
        self._thread = threading.Thread(
            target=rclpy_patches.spin_until,
            args=(self._executor, self._ended),
            name="probe",
            daemon=True,
        )
        self._thread.start()

    def __enter__(self) -> "GraphProbe":
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join(timeout=5.0)
        self._executor.shutdown(timeout_sec=2.0)
        self._node.destroy_node()
        rclpy.shutdown(context=self._context)

    @property
    def namespace(self) -> str:
        """Return the namespace that is examined."""
        return str(self._node.get_namespace())

    def discover(self) -> None:
        """Wait until both nodes are found and nothing new is for half a second, at most 4 s."""
        began = changed = time.monotonic()
        known: object = None
        while time.monotonic() - began < _DISCOVERY:
            running = sorted(self._node.get_node_names_and_namespaces())
            found = running, sorted(name for name, _ in self._node.get_topic_names_and_types())
            now = time.monotonic()
            complete = all((name, self.namespace) in running for name in _CONFIGS)
            if found != known:
                known, changed = found, now
            elif complete and now - changed > _SETTLED:
                return
            time.sleep(0.1)

    def nodes(self) -> dict[str, LiveNode]:
        """Return the policy and the executor of the namespace, with state and parameters."""
        running = self._node.get_node_names_and_namespaces()
        asked = {}
        for name, config in _CONFIGS.items():
            count = running.count((name, self.namespace))
            if count:
                parameters = [p.name for p in parameters_of(config) if p.exposed]
                asked[name] = (count, *self._ask(name, [*parameters, "use_sim_time"]))
        end = time.monotonic() + _ANSWER
        return {
            name: LiveNode(
                f"{self.namespace.rstrip('/')}/{name}", count, state(end), parameters(end)
            )
            for name, (count, state, parameters) in asked.items()
        }

    def use_sim_time(self) -> None:
        """Follow /clock, as the observed nodes do."""
        self._node.set_parameters([Parameter("use_sim_time", value=True)])

    def observe(
        self,
        robot: RobotContract | None,
        nodes: Mapping[str, LiveNode],
        seconds: float,
        meanwhile: Callable[[], None] = lambda: None,
    ) -> LiveGraph:
        """Receive all inputs of the contract for some time and return what was observed.

        Args:
            robot: the contract; None to look at the nodes alone.
            nodes: as returned by nodes().
            seconds: duration.
            meanwhile: called while messages are received.

        """
        inputs: dict[str, _Observed] = {}
        if robot is not None:
            cameras, sources = robot.cameras.values(), robot.sources
            inputs = {f"camera {c.name}": _Observed(self._node, c) for c in cameras}
            inputs |= {f"source {s.name}": _Observed(self._node, s) for s in sources}
        subscribe = self._node.create_subscription
        subscribe(ExecutorState, "executor_state", self._on_executor, qos.LATCHED)
        began = time.monotonic()
        meanwhile()
        time.sleep(max(0.0, began + seconds - time.monotonic()))
        published = published_topics(self._node)
        own = {each.topic for each in inputs.values()}
        free = {topic: types for topic, types in published.items() if topic not in own}
        found = {name: each.live(free) for name, each in inputs.items()}
        return LiveGraph(
            namespace=self.namespace,
            seconds=time.monotonic() - began,
            nodes=nodes,
            elsewhere=self._elsewhere(),
            cameras={n.removeprefix("camera "): x for n, x in found.items() if n[0] == "c"},
            sources={n.removeprefix("source "): x for n, x in found.items() if n[0] == "s"},
            controllers={}
            if robot is None
            else {c.name: self._controller(c, robot.controllers) for c in robot.controllers},
            clock_publishers=self._node.count_publishers("/clock"),
            latched_stop=self._latched_stop,
        )

    def _ask(
        self, name: str, parameters: Sequence[str]
    ) -> tuple[Callable[[float], str], Callable[[float], Mapping[str, object]]]:
        """Request state and parameters of a node; return functions that wait for the answers."""
        state = self._call(GetState, f"{name}/get_state", GetState.Request())
        values = self._call(
            GetParameters, f"{name}/get_parameters", GetParameters.Request(names=parameters)
        )

        def wait_for_state(end: float) -> str:
            answer = state(end)
            return "" if answer is None else str(answer.current_state.label)

        def wait_for_values(end: float) -> Mapping[str, object]:
            answer = values(end)
            found = () if answer is None else map(parameter_value_to_python, answer.values)
            pairs = zip(parameters, found, strict=False)
            return {key: value for key, value in pairs if value is not None}

        return wait_for_state, wait_for_values

    def _call(self, service: Any, name: str, request: Any) -> Callable[[float], Any]:
        """Call a service; return a function that waits for the answer until a time, or None."""
        client = self._node.create_client(service, name)
        answered = threading.Event()
        if not client.wait_for_service(timeout_sec=1.0):
            return lambda _end: None
        future = client.call_async(request)
        future.add_done_callback(lambda _: answered.set())

        def wait(end: float) -> Any:
            answered.wait(max(0.0, end - time.monotonic()))
            return future.result() if future.done() else None

        return wait

    def _elsewhere(self) -> tuple[str, ...]:
        return tuple(
            f"{space.rstrip('/')}/{name}"
            for name, space in sorted(self._node.get_node_names_and_namespaces())
            if name in _CONFIGS and space != self.namespace
        )

    def _controller(self, controller: Controller, others: Iterable[Controller]) -> LiveController:
        topic = self._node.resolve_topic_name(controller.topic)
        message = controller_type(controller.type).command_message()
        if not message:
            return self._action(topic)
        subscribers = self._subscribers(topic)
        own = {self._node.resolve_topic_name(each.topic) for each in others}
        free = {
            name: types
            for name, types in self._node.get_topic_names_and_types()
            if name not in own and message in types and self._subscribers(name)
        }
        return LiveController(
            topic,
            message,
            len(subscribers),
            tuple(sorted(set(subscribers))),
            () if subscribers else similar_topics(topic, free, message),
        )

    def _action(self, topic: str) -> LiveController:
        """Return the servers of an action: the publishers of its status."""
        suffix = "/_action/status"
        servers = self._node.count_publishers(topic + suffix)
        others = [n.removesuffix(suffix) for n in published_topics(self._node) if suffix in n]
        return LiveController(topic, "", servers, (), () if servers else tuple(sorted(others)))

    def _subscribers(self, topic: str) -> list[str]:
        """Return the type of each subscriber of a topic that may execute commands."""
        return [
            info.topic_type
            for info in self._node.get_subscriptions_info_by_topic(topic)
            if not info.node_name.startswith(_LISTENERS)
        ]

    def _on_executor(self, msg: ExecutorState) -> None:
        self._latched_stop = msg.reason if msg.latched else ""


class _Observed:
    """Subscription to one input, and what was received on it."""

    def __init__(self, node: Node, declared: Camera | JointStateSource) -> None:
        self.topic = node.resolve_topic_name(declared.topic)
        self._node = node
        self._declared = declared
        if isinstance(declared, Camera):
            message: Any = CompressedImage if declared.compressed else Image
            parts: Sequence[str] = (declared.name,)
        else:
            message, parts = JointState, declared.joints
        self._message = type_name(message)
        self._competing = CompetingInput(node, self.topic, parts, declared.rate)
        self._arrivals: list[tuple[float, int | None]] = []
        self._ages: list[float] = []
        self._unstamped = False
        self._conflict = ""
        self._forms: dict[object, ImageForm] = {}
        self._positions: dict[str, tuple[float, float]] = {}
        callback = rclpy_patches.with_publication_number(self._on_message)
        node.create_subscription(message, declared.topic, callback, qos.SENSOR)

    def live(self, free: Mapping[str, Sequence[str]]) -> LiveInput:
        """Return what was observed; `free` are the topics that no input of the contract uses."""
        publishers = publishers_of(self._node, self.topic)
        infos = self._node.get_publishers_info_by_topic(self.topic)
        arrivals, ages = [*self._arrivals], [*self._ages]
        return LiveInput(
            topic=self.topic,
            message=self._message,
            publishers=tuple(sorted(publishers)),
            types=tuple(sorted({info.topic_type for info in infos})),
            similar=() if publishers else similar_topics(self.topic, free, self._message),
            received=len(arrivals),
            rate=published_rate(arrivals),
            age=min(ages, default=0.0),
            unstamped=self._unstamped,
            conflict=self._conflict,
            forms=tuple(self._forms.values()),
            positions=dict(self._positions),
        )

    def _on_message(self, msg: Any, number: int | None) -> None:
        self._arrivals.append((time.monotonic(), number))
        now, stamp = int(self._node.get_clock().now().nanoseconds), time_to_ns(msg.header.stamp)
        if stamp == 0:
            self._unstamped = True
        elif now:
            self._ages.append(ns_to_s(now - stamp + self._declared.latency_ns))
        parts: Collection[str]
        if isinstance(self._declared, Camera):
            parts = (self._declared.name,)
            if len(self._forms) < _MAX_FORMS:
                key, form = _form_of(msg)
                self._forms.setdefault(key, form)
        else:
            parts = msg.name
            for joint, position in zip(msg.name, msg.position, strict=False):
                low, high = self._positions.get(joint, (position, position))
                self._positions[joint] = (min(low, position), max(high, position))
        self._conflict = self._competing.check_message(tuple(parts), number) or self._conflict


def published_rate(arrivals: Sequence[tuple[float, int | None]]) -> float:
    """Return the rate at which messages were published, Hz; 0 if fewer than two were received.

    Messages that were lost on the way count, where one publisher has numbered them.

    Args:
        arrivals: time in s and publication number of each message.

    """
    if len(arrivals) < 2:
        return 0.0
    numbers = [number for _, number in arrivals if number is not None]
    grows = len(numbers) == len(arrivals) and all(
        before < after for before, after in pairwise(numbers)
    )
    count = numbers[-1] - numbers[0] if grows else len(arrivals) - 1
    return count / max(1e-9, arrivals[-1][0] - arrivals[0][0])


def _form_of(msg: Any) -> tuple[object, ImageForm]:
    if isinstance(msg, CompressedImage):
        return msg.format, ImageForm(format=msg.format, data=bytes(msg.data))
    key = (msg.width, msg.height, msg.encoding, msg.step, len(msg.data))
    return key, ImageForm(
        msg.width,
        msg.height,
        msg.encoding,
        step=msg.step,
        is_bigendian=msg.is_bigendian,
        data=range(len(msg.data)),
    )
