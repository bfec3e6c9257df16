# SPDX-License-Identifier: Apache-2.0
"""Competing publishers of an input topic: evidence in its messages, names from the graph."""

import time
from collections.abc import Sequence

from rclpy.node import Node

from groot_ros.bridge.graph_monitor import UNKNOWN_NODE, publishers_of
from groot_ros.core import NS_PER_S
from groot_ros.observation.competing_publishers import AlternatingInstructions, CompetingPublishers

#: Code of the rejection of an input while two publishers compete for it.
COMPETING_PUBLISHERS = "competing_publishers"
#: Time between two looks at the graph while there is evidence, ns.
_GRAPH_PERIOD_NS = NS_PER_S // 5
#: The same while a publisher is known but not its node, which takes a little longer, ns.
_NAMING_PERIOD_NS = NS_PER_S // 50
#: Longest time that a report waits for the name of a node, ns.
_NAMING_NS = NS_PER_S // 2


class PublisherNames:
    """Names of the publishers of one topic, read from the graph only when they are needed."""

    def __init__(self, node: Node, topic: str) -> None:
        self._node = node
        self._topic = topic
        self._read_ns: int | None = None
        self._nameless_ns: int | None = None
        self._names: list[str] = []

    def several(self, now_ns: int) -> str:
        """Return the names of the publishers if there are two or more, else an empty string.

        A publisher without a name is waited for, at most 0.5 s, so that a report names both.
        """
        period = _GRAPH_PERIOD_NS if self._nameless_ns is None else _NAMING_PERIOD_NS
        if self._read_ns is None or now_ns - self._read_ns >= period:
            self._names, self._read_ns = sorted(publishers_of(self._node, self._topic)), now_ns
            if UNKNOWN_NODE not in self._names:
                self._nameless_ns = None
            elif self._nameless_ns is None:
                self._nameless_ns = now_ns
        if len(self._names) < 2:
            return ""
        waiting = self._nameless_ns is not None and now_ns - self._nameless_ns < _NAMING_NS
        return "" if waiting else " and ".join(self._names)


class CompetingInput:
    """Conflict of the publishers of one topic of cameras or joint states.

    Args:
        node: looks at the graph.
        topic: full name.
        parts: joints of the topic that are used; for a camera its name alone.
        expected_rate: Hz according to the robot contract, 0 = not stated.

    Attributes:
        contested: parts of the topic that two publishers send, as of the last message.

    """

    def __init__(
        self, node: Node, topic: str, parts: Sequence[str], expected_rate: float = 0.0
    ) -> None:
        self._topic = topic
        self._joints = len(parts) > 1
        self._publishers = CompetingPublishers(parts, expected_rate)
        self._names = PublisherNames(node, topic)
        self.contested: tuple[str, ...] = ()

    def check_message(self, parts: Sequence[str], number: int | None) -> str:
        """Record a message; return the conflict with both nodes, or an empty string.

        Args:
            parts: joints that the message names; for a camera its name alone.
            number: publication number of the message, None if it has none.

        """
        now = time.monotonic_ns()
        self._publishers.record_message(parts, number, now)
        self.contested = self._publishers.contested(now)
        if not self.contested:
            return ""
        names = self._names.several(now)
        if not names:
            self.contested = ()
            return ""
        what = f" of {', '.join(self.contested)}" if self._joints else ""
        return f"'{self._topic}' has several live publishers{what}: {names}: stop all but one"


class CompetingInstructions:
    """Conflict of the publishers of the instruction topic, as received by one subscription."""

    def __init__(self, node: Node, topic: str) -> None:
        self._topic = topic
        self._instructions = AlternatingInstructions()
        self._names = PublisherNames(node, topic)

    def check_instruction(self, text: str, number: int | None) -> str:
        """Record an instruction; return the conflict with both nodes, or an empty string."""
        now = time.monotonic_ns()
        self._instructions.record_instruction(text, number, now)
        if not self._instructions.contested(now):
            return ""
        names = self._names.several(now)
        if not names:
            return ""
        return f"the publishers of '{self._topic}' disagree: {names}: stop all but one"
