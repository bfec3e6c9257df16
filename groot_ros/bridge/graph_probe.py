# SPDX-License-Identifier: Apache-2.0
"""Observe a running graph: nodes and their parameters, inputs of the contract, controllers.

It gathers facts only; `groot_ros/checks` judges them.
"""

import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import rclpy
from lifecycle_msgs.srv import GetState
from rcl_interfaces.srv import GetParameters
from rclpy.executors import SingleThreadedExecutor
from rclpy.parameter import Parameter, parameter_value_to_python

from groot_ros.bridge import qos
from groot_ros.bridge.graph_client import spin_until
from groot_ros.bridge.input_probe import InputProbe
from groot_ros.bridge.live_graph import published_topics
from groot_ros.control.settings import ExecutorConfig
from groot_ros.core import PolicyConfig
from groot_ros.core.config import parameters_of
from groot_ros.core.live_graph import (
    LiveController,
    LiveGraph,
    LiveInput,
    LiveNode,
    similar_topics,
)
from groot_ros.msg import ExecutorState
from groot_ros.robot import RobotContract
from groot_ros.robot.controller import Controller, controller_type

#: Nodes that are looked for, and the configuration whose parameters they have.
_CONFIGS: Mapping[str, type] = {"policy_node": PolicyConfig, "executor_node": ExecutorConfig}
#: Longest time of discovery, and the time without a change after which it ends once both nodes have
#: been found, s.
_DISCOVERY, _SETTLED = 4.0, 0.5
#: Longest time that a node may take to answer, s.
_ANSWER = 2.0
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
            target=spin_until,
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
        inputs: dict[str, InputProbe] = {}
        if robot is not None:
            cameras, sources = robot.cameras.values(), robot.sources
            inputs = {f"camera {c.name}": InputProbe(self._node, c) for c in cameras}
            inputs |= {
                f"labels {c.name}": InputProbe(self._node, c, inputs[f"camera {c.name}"])
                for c in cameras
                if c.labels is not None
            }
            inputs |= {f"source {s.name}": InputProbe(self._node, s) for s in sources}
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
            cameras=_of_kind("camera", found),
            labels=_of_kind("labels", found),
            sources=_of_kind("source", found),
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


def _of_kind(kind: str, found: Mapping[str, LiveInput]) -> dict[str, LiveInput]:
    """Return name -> input of the keys "kind name"."""
    return {key.removeprefix(f"{kind} "): own for key, own in found.items() if key.startswith(kind)}
