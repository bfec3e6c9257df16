# SPDX-License-Identifier: Apache-2.0
"""Monitors of the ROS graph: other publishers on a node's own topics; stalls and clock jumps."""

import statistics
import time
from collections import deque
from collections.abc import Mapping, Sequence

from rclpy.node import Node

from groot_ros.core import NS_PER_S, MalformedError, ns_to_s, s_to_ns

#: Time after its start in which a node yields to the publishers it finds, ns. Discovery of all of
#: them takes up to 3 s with Fast DDS.
_DISCOVERY_NS = 6 * NS_PER_S
#: Smallest jump of the clock that is named as such, ns: smaller ones are made up for by a brake.
_JUMP_NS = NS_PER_S // 4
#: Steps over which the rate of the clock is measured.
_RATE_WINDOW = 20
#: Name of the node of a publisher that was discovered before its node.
UNKNOWN_NODE = "a node not yet known"
#: Names of nodes that play bags: of rosbag2, and of this package.
BAG_PLAYERS = ("rosbag2_player", "player_node")


def publishers_of(node: Node, topic: str) -> list[str]:
    """Return the full name of the node of each publisher on a topic, or UNKNOWN_NODE."""
    names = (
        f"{info.node_namespace.rstrip('/')}/{info.node_name}"
        for info in node.get_publishers_info_by_topic(topic)
    )
    return [UNKNOWN_NODE if "_UNKNOWN_" in name else name for name in names]


def is_bag_player(name: str) -> bool:
    """Return whether a node, given by its full name, plays bags."""
    return name.rpartition("/")[2] in BAG_PLAYERS


class PublisherConflicts:
    """Detect other publishers on topics that may have only one.

    The node that was there first continues and reports the conflict; the later one yields.

    Args:
        own: full name of this node, which has one publisher on each of the topics.

    Attributes:
        description: the other publishers and their topics; empty if there are none.
        yields: whether this node is the one to stop, until there is no conflict.

    """

    def __init__(self, own: str) -> None:
        self._own = own
        self._began_ns: int | None = None
        self.description = ""
        self.yields = False

    def begin(self, now_ns: int) -> None:
        """Start publishing at `now_ns` of a steady clock."""
        self._began_ns = now_ns

    @property
    def begun(self) -> bool:
        """Return whether begin() was called."""
        return self._began_ns is not None

    def is_discovering(self, now_ns: int) -> bool:
        """Return whether publishers that were there first may still be discovered."""
        return self._began_ns is not None and now_ns - self._began_ns < _DISCOVERY_NS

    def check(self, publishers: Mapping[str, Sequence[str]], now_ns: int) -> str:
        """Update from topic -> node names of its publishers; return the description."""
        found = []
        for topic, names in publishers.items():
            others = [*names]
            # The node's own publisher may also be discovered before its name.
            for own in (self._own, UNKNOWN_NODE):
                if own in others:
                    others.remove(own)
                    break
            if others:
                found.append(f"{', '.join(sorted(set(others)))} publishes on {topic}")
        self.description = f"{'; '.join(found)}: stop one of them" if found else ""
        self.yields = bool(found) and (self.yields or self.is_discovering(now_ns))
        return self.description


class ClockStall:
    """Compare ROS time with a steady clock to detect a /clock that has stopped or never started.

    Args:
        timeout_ns: how long ROS time may stand still.

    """

    def __init__(self, timeout_ns: int = NS_PER_S) -> None:
        self._timeout_ns = timeout_ns
        self._last_ns: int | None = None
        self._since_ns = 0

    def check(self, ros_ns: int, steady_ns: int) -> str:
        """Return the problem with /clock, or an empty string."""
        if ros_ns != self._last_ns:
            self._last_ns, self._since_ns = ros_ns, steady_ns
        if steady_ns - self._since_ns < self._timeout_ns:
            return ""
        if ros_ns == 0:
            return "no /clock: use_sim_time is on and nobody publishes it"
        return f"/clock has stood still for {ns_to_s(self._timeout_ns):g} s or more"


class ClockJumps:
    """Compare ROS time with a steady clock to detect that it was set, or a simulation was reset.

    A clock may run at another rate than the steady one: the median of its last steps counts.

    Args:
        tolerance_ns: smallest jump.

    """

    def __init__(self, tolerance_ns: int = _JUMP_NS) -> None:
        self._tolerance_ns = tolerance_ns
        self._last: tuple[int, int] | None = None
        self._rates: deque[float] = deque(maxlen=_RATE_WINDOW)

    def check(self, ros_ns: int, steady_ns: int) -> str:
        """Return a description of a jump ahead since the last change, or an empty string."""
        if self._last is None or self._last[0] == 0 or ros_ns < self._last[0]:
            self._last = ros_ns, steady_ns
            return ""
        step_ns, elapsed_ns = ros_ns - self._last[0], steady_ns - self._last[1]
        if step_ns == 0:
            return ""
        self._last = ros_ns, steady_ns
        rate = max(1.0, statistics.median(self._rates)) if self._rates else 1.0
        self._rates.append(step_ns / max(1, elapsed_ns))
        jump_ns = step_ns - rate * elapsed_ns
        if jump_ns <= self._tolerance_ns:
            return ""
        return f"the clock jumped {ns_to_s(round(jump_ns)):.1f} s ahead"


class GraphMonitor:
    """Watch the topics on which only this node may publish, and its clock.

    Args:
        topics: full names.
        born_ns: when the node was created, on the monotonic clock; discovery began then.
        discovery_timeout: s after which all other publishers are assumed to be discovered.
        clock_timeout: s of real time for which /clock may stand still.

    Attributes:
        discovered_ns: when discovery is complete, on the monotonic clock.
        publisher_conflicts: the state of the conflict detection.

    """

    def __init__(
        self,
        node: Node,
        topics: Sequence[str],
        *,
        born_ns: int,
        discovery_timeout: float,
        clock_timeout: float = 1.0,
    ) -> None:
        self._node = node
        self._topics = tuple(topics)
        self.discovered_ns = born_ns + s_to_ns(discovery_timeout)
        self.publisher_conflicts = PublisherConflicts(node.get_fully_qualified_name())
        self._clock_timeout_ns = s_to_ns(clock_timeout)
        self._clock = ClockStall(self._clock_timeout_ns)
        self._clock_problem = ""
        self._jumps = ClockJumps()
        self._reported = ""

    @property
    def conflicting_publisher(self) -> str:
        """Return a description of the publisher that the node yields to, or an empty string."""
        conflicts = self.publisher_conflicts
        return conflicts.description if conflicts.yields else ""

    @property
    def discovery_time_left(self) -> float:
        """Return the time until discovery is complete, s; 0 afterwards."""
        return max(0.0, ns_to_s(self.discovered_ns - time.monotonic_ns()))

    def begin(self) -> str:
        """Start monitoring; return the publishers that were there first, or an empty string."""
        others = self._check_publishers()
        if not others:
            self.publisher_conflicts.begin(time.monotonic_ns())
            self._clock, self._clock_problem = ClockStall(self._clock_timeout_ns), ""
            self._jumps = ClockJumps()
        return others

    def require_no_conflict(self) -> None:
        """Raise MalformedError while the node yields, or while discovery is incomplete."""
        if self.conflicting_publisher:
            raise MalformedError("second_executor", self.conflicting_publisher)
        if left := self.discovery_time_left:
            raise MalformedError(
                "discovering",
                f"other nodes that command this robot are discovered within {left:.1f} s "
                "(discovery_timeout)",
            )

    def new_conflict(self) -> str:
        """Search for other publishers; return one to which the node now has to yield.

        Returns an empty string if there is none, or if the node was yielding before.
        """
        before = self.conflicting_publisher
        if before or self.publisher_conflicts.is_discovering(time.monotonic_ns()):
            self._check_publishers()
        if before or not self.conflicting_publisher:
            return ""
        self._reported = self.conflicting_publisher
        return self._reported

    def new_publisher(self) -> str:
        """Return other publishers on the topics that began since the last call, else "".

        They are those that the last check found, of new_conflict() or faults(): the node that was
        there first continues, and the log must show what else commands the robot.
        """
        before, self._reported = self._reported, self.publisher_conflicts.description
        return self._reported if self._reported != before else ""

    def clock_jump(self, now_ns: int) -> str:
        """Return a description of a jump of ROS time since the last call, or an empty string."""
        return self._jumps.check(now_ns, time.monotonic_ns())

    def new_clock_stall(self) -> str:
        """Check /clock; return a problem that began since the last call, else an empty string."""
        before = self._clock_problem
        if self._node.get_parameter("use_sim_time").value:
            now = int(self._node.get_clock().now().nanoseconds)
            self._clock_problem = self._clock.check(now, time.monotonic_ns())
        return "" if before else self._clock_problem

    def faults(self) -> list[str]:
        """Return all present problems, including conflicts in which the node does not yield."""
        return [fault for fault in (self._check_publishers(), self._clock_problem) if fault]

    def _check_publishers(self) -> str:
        publishers = {topic: publishers_of(self._node, topic) for topic in self._topics}
        return self.publisher_conflicts.check(publishers, time.monotonic_ns())
