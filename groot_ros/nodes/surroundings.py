"""What beside its inputs the executor must stop for: a rival, and a /clock that stands."""

import time
from collections.abc import Sequence

from rclpy.node import Node

from groot_ros.bridge.rivals import Rivals
from groot_ros.bridge.standing_clock import StandingClock


class Surroundings:
    """Looks at who else publishes on topics where the node alone may, and at its clock.

    Args:
        topics: full names.

    """

    def __init__(self, node: Node, topics: Sequence[str]) -> None:
        self._node = node
        self._topics = tuple(topics)
        self._rivals = Rivals(node.get_fully_qualified_name())
        self._standing = StandingClock()
        self._clock_stands = ""

    @property
    def rival(self) -> str:
        """Whom the node gives way to, or an empty string."""
        return self._rivals.words if self._rivals.gives_way else ""

    def begin(self) -> str:
        """Look anew, as the node wants to begin: who was there first, or an empty string."""
        rivals = self._look_for_rivals()
        if not rivals:
            self._rivals.begin(time.monotonic_ns())
            self._standing, self._clock_stands = StandingClock(), ""
        return rivals

    def watch(self) -> str:
        """What the node must stop for now, said once, or an empty string."""
        rival, stood = self.rival, self._clock_stands
        if rival or self._rivals.is_newcomer(time.monotonic_ns()):
            self._look_for_rivals()
        if self._node.get_parameter("use_sim_time").value:
            now = int(self._node.get_clock().now().nanoseconds)
            self._clock_stands = self._standing.look(now, time.monotonic_ns())
        if self.rival and not rival:
            return f"somebody else commands this robot: {self.rival}"
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
