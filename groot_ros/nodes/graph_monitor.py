"""What beside its inputs the executor must stop for: a conflicting_publisher, and a /clock that stands."""

import time
from collections.abc import Sequence

from rclpy.node import Node

from groot_ros.bridge.clock_stall import ClockStall
from groot_ros.bridge.publisher_conflicts import PublisherConflicts
from groot_ros.core import ns_to_s, s_to_ns


class GraphMonitor:
    """Looks at who else publishes on topics where the node alone may, and at its clock.

    Args:
        topics: full names.
        born_ns: when the node was created, on a steady clock: discovery began then.
        discovery: s that it may take; until then nobody can know whether somebody else is there.

    """

    def __init__(
        self, node: Node, topics: Sequence[str], *, born_ns: int, discovery: float
    ) -> None:
        self._node = node
        self._topics = tuple(topics)
        self._known_ns = born_ns + s_to_ns(discovery)
        self._rivals = PublisherConflicts(node.get_fully_qualified_name())
        self._standing = ClockStall()
        self._clock_stands = ""

    @property
    def conflicting_publisher(self) -> str:
        """Whom the node gives way to, or an empty string."""
        return self._rivals.words if self._rivals.gives_way else ""

    @property
    def unknown(self) -> float:
        """Seconds until everybody else is discovered; 0 from then on."""
        return max(0.0, ns_to_s(self._known_ns - time.monotonic_ns()))

    def begin(self) -> str:
        """Look anew, as the node wants to begin: who was there first, or an empty string."""
        publisher_conflicts = self._look_for_rivals()
        if not publisher_conflicts:
            self._rivals.begin(time.monotonic_ns())
            self._standing, self._clock_stands = ClockStall(), ""
        return publisher_conflicts

    def new_conflict(self) -> str:
        """Whom the node gives way to from now on, said once, or an empty string."""
        before = self.conflicting_publisher
        if before or self._rivals.is_conflicting_publisher(time.monotonic_ns()):
            self._look_for_rivals()
        return "" if before else self.conflicting_publisher

    def clock_stall(self) -> str:
        """That /clock stands from now on, said once, or an empty string."""
        stood = self._clock_stands
        if self._node.get_parameter("use_sim_time").value:
            now = int(self._node.get_clock().now().nanoseconds)
            self._clock_stands = self._standing.look(now, time.monotonic_ns())
        return "" if stood else self._clock_stands

    def faults(self) -> list[str]:
        """All that is wrong now, also where the node goes on."""
        return [words for words in (self._look_for_rivals(), self._clock_stands) if words]

    def _look_for_rivals(self) -> str:
        speakers = {
            topic: [
                f"{info.node_namespace.rstrip('/')}/{info.node_name}"
                for info in self._node.get_publishers_info_by_topic(topic)
            ]
            for topic in self._topics
        }
        return self._rivals.look(speakers, time.monotonic_ns())
