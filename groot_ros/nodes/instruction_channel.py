# SPDX-License-Identifier: Apache-2.0
"""Instructions for the policy from topic and service, and the topic that says which one it follows.

Messages of `instruction` are checked, because any node can publish there: a bag that is played, or
a second operator, must not move the robot. An empty instruction, which stops, is always followed.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from threading import Lock

from rclpy.callback_groups import CallbackGroup, MutuallyExclusiveCallbackGroup
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.subscription import Subscription
from std_msgs.msg import String

from groot_ros.bridge import qos, rclpy_patches
from groot_ros.bridge.competing_inputs import COMPETING_PUBLISHERS, CompetingInstructions
from groot_ros.bridge.graph_monitor import UNKNOWN_NODE, is_bag_player, publishers_of
from groot_ros.bridge.messages import ns_to_time
from groot_ros.core import NS_PER_S, instruction_problem, is_blank, ns_to_s
from groot_ros.msg import Instruction
from groot_ros.observation.instruction import InstructionBox
from groot_ros.srv import SetInstruction

#: Longest time that an instruction waits until the node of its publisher is known, ns.
_NAMING_NS = 3 * NS_PER_S
#: s between two looks at the publishers of the topic.
_GRAPH_PERIOD = 0.1
#: Time after which nothing of a bag player that has ended can still be on its way, ns.
_PLAYER_MEMORY_NS = 2 * NS_PER_S


@dataclass(frozen=True)
class _Waiting:
    """An instruction whose publisher is not yet known, and the publishers when it arrived."""

    text: str
    publishers: int
    since_ns: int


def subscribe_instruction(
    node: Node, callbacks: tuple[Callable[..., None], Callable[..., None]], group: CallbackGroup
) -> list[Subscription]:
    """Subscribe to the instruction topic with any QoS of its publisher.

    Two subscriptions receive each message, each of them in order. They share a callback group:
    otherwise a thread with an old message could be overtaken by a thread with the next one. The
    reliable subscription is called last, so the last message cannot be lost.

    Args:
        node: the subscribing node.
        callbacks: one for each subscription.
        group: a mutually exclusive callback group.

    """
    return [
        node.create_subscription(
            String,
            "instruction",
            callback,
            profile,
            callback_group=group,
            event_callbacks=rclpy_patches.NO_SUBSCRIPTION_EVENTS,
        )
        for callback, profile in zip(
            callbacks, (qos.INSTRUCTION, qos.INSTRUCTION_LATCHED), strict=True
        )
    ]


class InstructionChannel:
    """Stores instructions from topic and service, and publishes the one that is followed.

    Args:
        node: node of subscriptions, publisher and service.
        box: receives the instructions.
        on_change: called after each new instruction.
        reject: called with (reason, detail) for each instruction that is not followed.
        session: returns the session of the policy, empty while it is not active.
        accepts_topic: returns whether instructions on the topic are followed.
        group: callback group of the service.

    Attributes:
        rejection: why the newest instruction is not followed; empty if it is.

    """

    def __init__(
        self,
        node: Node,
        box: InstructionBox,
        on_change: Callable[[], None],
        reject: Callable[[str, str], None],
        session: Callable[[], str],
        accepts_topic: Callable[[], bool],
        group: CallbackGroup,
    ) -> None:
        self._node = node
        self._box = box
        self._on_change = on_change
        self._report_rejection = reject
        self.rejection = ""
        self._session = session
        self._accepts_topic = accepts_topic
        self._lock = Lock()
        self._waiting: _Waiting | None = None
        #: Names of the bag players that were last seen on the topic, and when.
        self._players: tuple[str, int] = ("", 0)
        self._publisher = node.create_publisher(
            Instruction,
            "active_instruction",
            qos.LATCHED,
            event_callbacks=rclpy_patches.NO_PUBLISHER_EVENTS,
        )
        self._topic = node.resolve_topic_name("instruction")
        own = MutuallyExclusiveCallbackGroup()
        # A conflict shows in the order of the messages, so each subscription has its own check.
        subscribe_instruction(
            node,
            (self._on_topic_of(node), self._on_topic_of(node)),
            own,
        )
        node.create_timer(
            _GRAPH_PERIOD,
            self._on_graph_period,
            callback_group=own,
            clock=Clock(clock_type=ClockType.STEADY_TIME),
        )
        node.create_service(
            SetInstruction, "~/set_instruction", self._on_service, callback_group=group
        )

    def publish(self) -> None:
        """Publish the instruction that is followed, as after a change of the session."""
        current = self._box.current
        msg = Instruction(
            text=current.text,
            instruction_id=current.id,
            session=self._session(),
            source=current.source,
        )
        msg.header.stamp = ns_to_time(int(self._node.get_clock().now().nanoseconds))
        self._publisher.publish(msg)

    def _on_topic_of(self, node: Node) -> Callable[..., None]:
        check = CompetingInstructions(node, self._topic)
        return rclpy_patches.with_publication_number(partial(self._on_topic, check))

    def _on_topic(self, check: CompetingInstructions, msg: String, number: int | None) -> None:
        conflict = check.check_instruction(msg.data, number)
        problem = instruction_problem(msg.data)
        if is_blank(msg.data):
            self._waiting = None
            self._set(msg.data, Instruction.SOURCE_TOPIC)
            return
        if problem:
            self._reject("bad_instruction", problem)
            return
        if not self._accepts_topic():
            self._reject(
                "instruction_topic_off",
                f"'{msg.data}' on '{self._topic}': accept_instruction_topic is false, use the "
                "service set_instruction",
            )
            return
        if conflict:
            self._waiting = None
            self._set("", Instruction.SOURCE_CONFLICT)
            self._reject(COMPETING_PUBLISHERS, conflict)
            return
        names = self._publishers()
        self._waiting = _Waiting(msg.data, len(names), time.monotonic_ns())
        self._follow_if_known(names)

    def _publishers(self) -> list[str]:
        """Return the nodes that publish on the topic; remember bag players."""
        names = publishers_of(self._node, self._topic)
        if players := sorted({name for name in names if is_bag_player(name)}):
            self._players = ", ".join(players), time.monotonic_ns()
        return names

    def _on_graph_period(self) -> None:
        names = self._publishers()
        if self._waiting is not None:
            self._follow_if_known(names)

    def _follow_if_known(self, names: list[str]) -> None:
        """Follow the waiting instruction, reject it, or wait until its publisher is known."""
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
            self._set(waiting.text, Instruction.SOURCE_TOPIC)
        elif players:
            self._waiting = None
            self._reject(
                "played_instruction",
                f"'{waiting.text}' on '{self._topic}' while {players} plays a bag there: play "
                "it on another ROS_DOMAIN_ID, or set use_sim_time",
            )
        elif now - waiting.since_ns > _NAMING_NS:
            self._waiting = None
            self._reject(
                "unknown_publisher",
                f"'{waiting.text}' on '{self._topic}': its publisher did not become known within "
                f"{ns_to_s(_NAMING_NS):g} s: send it again, or use the service set_instruction",
            )

    def _on_service(
        self, request: SetInstruction.Request, response: SetInstruction.Response
    ) -> SetInstruction.Response:
        if problem := instruction_problem(request.instruction):
            self._reject("bad_instruction", problem)
            response.message = problem
            response.instruction_id = self._box.current.id
            return response
        if not self._set(request.instruction, Instruction.SOURCE_SERVICE):
            # An executor that was stopped by itself follows it again.
            with self._lock:
                self.publish()
        current = self._box.current
        response.success = True
        response.message = "stopped: the instruction is empty" if current.stops else current.text
        response.instruction_id = current.id
        return response

    def _reject(self, reason: str, detail: str) -> None:
        self.rejection = f"{reason}: {detail}"
        self._report_rejection(reason, detail)

    def _set(self, text: str, source: str) -> bool:
        """Follow an instruction; return False if it is the present one."""
        self.rejection = ""
        with self._lock:
            if not self._box.set(text, source):
                return False
            self._node.get_logger().info(f"instruction {self._box.current.id}: '{text}'")
            self.publish()
        self._on_change()
        return True
