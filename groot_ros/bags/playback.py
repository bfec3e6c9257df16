# SPDX-License-Identifier: Apache-2.0
"""Selection of the messages of a bag that are played to a policy, in the order of their stamps.

Only what a robot measures is played. Commands, and what policy and executor publish, are refused:
on the network of a robot they could move it, and they would appear next to those of the nodes under
test.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rosbags.interfaces import Connection, ConnectionExtRosbag2
from rosbags.rosbag2 import Reader

from groot_ros.bags import BagError
from groot_ros.bags.clock import require_steady_clock
from groot_ros.bags.contents import UNREADABLE, unreadable_bag
from groot_ros.bags.qos import Request
from groot_ros.core import ns_to_s, s_to_ns

#: Message types that are never played: commands, and everything of policy and executor.
_COMMAND_TYPES = (
    "trajectory_msgs/msg/JointTrajectory",
    "std_msgs/msg/Float64MultiArray",
    "std_msgs/msg/Bool",
)
_OWN_PACKAGE = "groot_ros/msg/"
#: Last part of the names of topics that are never played.
_NEVER = ("instruction", "clock")


@dataclass(frozen=True)
class PlayedTopic:
    """A topic that is played.

    Attributes:
        name: absolute name.
        type: "package/msg/Name".
        count: number of its messages in the whole bag.
        qos: what its publishers offered; reliable and volatile if the bag does not say.

    """

    name: str
    type: str
    count: int
    qos: Request


class Playback:
    """An open bag with the topics to play; use it as a context manager.

    Args:
        bag: directory of a bag of any recorder that `rosbags` reads, or an .mcap file.
        topics: absolute names.
        start_offset: s from the first message of the bag.

    Attributes:
        topics: what is played.
        start_ns: stamp at which playing begins.
        end_ns: stamp of the last message of the bag.

    Raises:
        BagError: the bag cannot be read, its clock was reset, it has no message after the start,
            it lacks a topic, or a topic is never played.

    """

    def __init__(self, bag: Path, topics: Sequence[str], start_offset: float = 0.0) -> None:
        self._bag = bag
        if not bag.exists():
            raise BagError(f"there is no bag at {bag}")
        try:
            self._reader = Reader(bag)
            self._reader.open()
        except UNREADABLE as error:
            raise unreadable_bag(bag, error) from error
        try:
            require_steady_clock(bag, self._reader)
            self._connections = self._selected(topics)
            self.topics = tuple(map(_played, self._connections))
            self.start_ns = self._reader.start_time + s_to_ns(start_offset)
            # rosbags' end is one past the last message.
            self.end_ns = self._reader.end_time - 1
            if not self._reader.message_count:
                raise BagError(f"bag {bag} has no messages")
            if self.start_ns > self.end_ns:
                seconds = self.duration + start_offset
                raise BagError(
                    f"bag {bag} lasts {seconds:.1f} s: nothing is left after {start_offset:g} s"
                )
        except BagError:
            self._reader.close()
            raise

    def __enter__(self) -> "Playback":
        return self

    def __exit__(self, *_: object) -> None:
        self._reader.close()

    @property
    def duration(self) -> float:
        """Time from the start to the end of the bag, s."""
        return ns_to_s(self.end_ns - self.start_ns)

    def messages(self) -> Iterator[tuple[str, int, bytes]]:
        """Iterate over (topic, stamp in ns, data) from the start; can be called again.

        The last message of a latched topic before the start comes first, with the start as stamp.

        Raises:
            BagError: the bag is damaged.

        """
        latched = [c for c in self._connections if _played(c).qos.latched]
        last: dict[str, bytes] = {}
        try:
            if latched:
                for connection, _, data in self._reader.messages(latched, stop=self.start_ns):
                    last[connection.topic] = bytes(data)
            for topic, data in last.items():
                yield topic, self.start_ns, data
            for connection, stamp_ns, data in self._reader.messages(
                self._connections, start=self.start_ns
            ):
                yield connection.topic, stamp_ns, bytes(data)
        except UNREADABLE as error:
            raise unreadable_bag(self._bag, error) from error

    def _selected(self, topics: Sequence[str]) -> list[Connection]:
        recorded = {c.topic: c for c in self._reader.connections}
        for topic in topics:
            if topic not in recorded:
                names = ", ".join(sorted(recorded)) or "no topics"
                raise BagError(
                    f"bag {self._bag} has no topic {topic}: is it of another robot? It has {names}"
                )
            kind = recorded[topic].msgtype
            if (
                kind in _COMMAND_TYPES
                or kind.startswith(_OWN_PACKAGE)
                or topic.rpartition("/")[2] in _NEVER
            ):
                raise BagError(
                    f"{topic} [{kind}] is never played: it would command a robot, or appear next "
                    "to what the nodes publish; play cameras and joint states"
                )
        return [c for c in self._reader.connections if c.topic in topics]


def _played(connection: Connection) -> PlayedTopic:
    assert isinstance(connection.ext, ConnectionExtRosbag2)
    offers = connection.ext.offered_qos_profiles
    request = Request.matching(offers) if offers else Request(reliable=True, latched=False)
    return PlayedTopic(connection.topic, connection.msgtype, connection.msgcount, request)
