# SPDX-License-Identifier: Apache-2.0
"""Holds back what is received on a topic of commands until the node of its publisher is known.

Any node can publish there: a bag that is played must not move the robot.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from rclpy.node import Node

from groot_ros.bridge.graph_monitor import UNKNOWN_NODE, is_bag_player, publishers_of
from groot_ros.core import NS_PER_S, ns_to_s

Command = TypeVar("Command")

#: Longest time that a command waits until the node of its publisher is known, ns.
_NAMING_NS = 3 * NS_PER_S
#: Time after which nothing of a bag player that has ended can still be on its way, ns.
_PLAYER_MEMORY_NS = 2 * NS_PER_S


@dataclass(frozen=True)
class _Waiting(Generic[Command]):
    """A command whose publisher is not yet known, and the publishers when it arrived."""

    command: Command
    text: str
    publishers: int
    since_ns: int


class PublisherGate(Generic[Command]):
    """Follows the commands of one topic, or rejects them.

    Args:
        node: looks at the graph.
        topic: full name.
        service: name of the service that gives the same command, for messages.
        follow: called with a command that is followed.
        reject: called with (reason, detail) of one that is not.

    """

    def __init__(
        self,
        node: Node,
        topic: str,
        service: str,
        follow: Callable[[Command], None],
        reject: Callable[[str, str], None],
    ) -> None:
        self._node = node
        self.topic = topic
        self._service = service
        self._follow = follow
        self._reject = reject
        self._waiting: _Waiting[Command] | None = None
        #: Bag players that were seen on the topic, and when.
        self._players: tuple[str, int] = ("", 0)

    def drop(self) -> None:
        """Forget the command that waits, as after a stop."""
        self._waiting = None

    def admit(self, command: Command, text: str) -> None:
        """Follow a command, reject it, or let it wait; a newer one replaces one that waits.

        Args:
            command: the command.
            text: the command as text, for messages.

        """
        names = self._publishers()
        self._waiting = _Waiting(command, text, len(names), time.monotonic_ns())
        self._follow_if_known(names)

    def update(self) -> None:
        """Look at the graph: follow or reject the command that waits; remember bag players."""
        names = self._publishers()
        if self._waiting is not None:
            self._follow_if_known(names)

    def _publishers(self) -> list[str]:
        """Return the nodes that publish on the topic; remember bag players."""
        names = publishers_of(self._node, self.topic)
        if players := sorted({name for name in names if is_bag_player(name)}):
            self._players = ", ".join(players), time.monotonic_ns()
        return names

    def _follow_if_known(self, names: list[str]) -> None:
        """Follow the waiting command, reject it, or wait until its publisher is known."""
        waiting = self._waiting
        if waiting is None:
            return
        sim_time = bool(self._node.get_parameter("use_sim_time").value)
        now = time.monotonic_ns()
        players, seen_ns = self._players
        if now - seen_ns > _PLAYER_MEMORY_NS:
            players = ""
        unknown = UNKNOWN_NODE in names or len(names) < max(1, waiting.publishers)
        if sim_time or not (players or unknown):
            self._waiting = None
            self._follow(waiting.command)
        elif players:
            self._waiting = None
            self._reject(
                "played_instruction",
                f"'{waiting.text}' on '{self.topic}' while {players} plays a bag there: play "
                "it on another ROS_DOMAIN_ID, or set use_sim_time",
            )
        elif now - waiting.since_ns > _NAMING_NS:
            self._waiting = None
            self._reject(
                "unknown_publisher",
                f"'{waiting.text}' on '{self.topic}': its publisher did not become known within "
                f"{ns_to_s(_NAMING_NS):g} s: send it again, or use the service {self._service}",
            )
