# SPDX-License-Identifier: Apache-2.0
"""Topics of the ROS graph: who publishes them, and which others carry the same type."""

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import rclpy
from rclpy.context import Context
from rclpy.node import Node

from groot_ros.bridge.graph_monitor import publishers_of
from groot_ros.core import NS_PER_S
from groot_ros.core.live_graph import similar_topics, suggestion

#: Time until all topics of a local graph have been discovered, s.
DISCOVERY_TIME = 2.0
#: Time from activation to the first report of missing inputs, and between reports, ns.
_GRACE_NS, _REPEAT_NS = NS_PER_S, 5 * NS_PER_S


def live_topics(seconds: float = DISCOVERY_TIME) -> Mapping[str, str]:
    """Return topic -> type, such as "sensor_msgs/msg/Image", of all topics with a publisher."""
    context = Context()
    rclpy.init(context=context)
    try:
        node = rclpy.create_node("groot_ros_graph", context=context)
        end = time.monotonic() + seconds
        found: dict[str, str] = {}
        while time.monotonic() < end:
            found |= {topic: types[0] for topic, types in published_topics(node).items()}
            time.sleep(0.1)
        node.destroy_node()
        return found
    finally:
        rclpy.shutdown(context=context)


def rmw_implementation() -> str:
    """Return the name of the RMW implementation in use, such as "rmw_fastrtps_cpp"."""
    return str(rclpy.get_rmw_implementation_identifier())


def published_topics(node: Node) -> dict[str, Sequence[str]]:
    """Return topic -> types of all topics with a publisher."""
    return {
        topic: types
        for topic, types in node.get_topic_names_and_types()
        if node.count_publishers(topic)
    }


@dataclass(frozen=True)
class InputTopic:
    """Topic of an input.

    Attributes:
        topic: full name.
        message: type, such as "sensor_msgs/msg/Image".

    """

    topic: str
    message: str


class MissingInputs:
    """Reports inputs from which nothing was received, with what the graph says about them.

    Args:
        node: looks at the graph.
        inputs: name of the input -> its topic.

    """

    def __init__(self, node: Node, inputs: Mapping[str, InputTopic]) -> None:
        self._node = node
        self._inputs = inputs
        self._missing: set[str] = set()
        self._began_ns = self._described_ns = 0
        self._description = ""

    def begin(self, now_ns: int) -> None:
        """Start at `now_ns` of a steady clock, at activation."""
        self._began_ns, self._description = now_ns, ""

    def update(self, missing: Collection[str], now_ns: int) -> str:
        """Return one line about the inputs that are missing, an empty string if there are none.

        Logs the line when it changes and every 5 s, and once that all inputs are received. Returns
        nothing in the first second, in which messages may still be on their way.

        Args:
            missing: names of the inputs from which nothing was received.
            now_ns: time of the steady clock.

        """
        names = set(missing)
        if not names or now_ns - self._began_ns < _GRACE_NS:
            if self._description:
                self._node.get_logger().info("all inputs are received")
            self._description = ""
        elif (
            not self._description
            or names != self._missing
            or now_ns - self._described_ns >= _REPEAT_NS
        ):
            self._missing, self._described_ns = names, now_ns
            self._description = self.describe(names)
            self._node.get_logger().warning(self._description)
        return self._description

    def describe(self, missing: Collection[str]) -> str:
        """Return one line about the inputs of these names."""
        published = published_topics(self._node)
        used = {each.topic for each in self._inputs.values()}
        free = {topic: types for topic, types in published.items() if topic not in used}
        return "nothing received yet: " + ", ".join(
            self._describe(name, published, free) for name in self._inputs if name in missing
        )

    def _describe(
        self,
        name: str,
        published: Mapping[str, Sequence[str]],
        free: Mapping[str, Sequence[str]],
    ) -> str:
        own = self._inputs[name]
        count = len(publishers_of(self._node, own.topic))
        noted = f"{count} publisher{'' if count == 1 else 's'}"
        wrong = sorted(set(published.get(own.topic, ())) - {own.message})
        if count and wrong:
            noted += f" of {', '.join(wrong)}, not {own.message}"
        similar = () if count else similar_topics(own.topic, free, own.message)
        return f"{name} ({own.topic}, {noted}{suggestion(similar, own.message)})"
