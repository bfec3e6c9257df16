# SPDX-License-Identifier: Apache-2.0
"""The instruction's topic and service, which have the same effect."""

from collections.abc import Callable
from threading import Lock

from rclpy.callback_groups import CallbackGroup, MutuallyExclusiveCallbackGroup
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.subscription import Subscription
from std_msgs.msg import String

from groot_ros.bridge import qos, rclpy_patches
from groot_ros.core import instruction_problem
from groot_ros.observation.instruction import InstructionBox
from groot_ros.srv import SetInstruction


def subscribe_instruction(node: Node, callback: Callable[[String], None]) -> list[Subscription]:
    """Subscribe to the instruction topic with any QoS of its publisher.

    Two subscriptions receive each message, each of them in order. They share a callback group:
    otherwise a thread with an old message could be overtaken by a thread with the next one. The
    reliable subscription is called last, so the last message cannot be lost.
    """
    group = MutuallyExclusiveCallbackGroup()
    return [
        node.create_subscription(
            String,
            "instruction",
            callback,
            profile,
            callback_group=group,
            event_callbacks=rclpy_patches.NO_SUBSCRIPTION_EVENTS,
        )
        for profile in (qos.INSTRUCTION, qos.INSTRUCTION_LATCHED)
    ]


class InstructionChannel:
    """Stores instructions from topic and service, and publishes those from the service.

    The executor only subscribes to the topic.

    Args:
        node: node of subscriptions, publisher and service.
        box: receives the instructions.
        on_change: called after each new instruction.
        group: callback group of the service.

    """

    def __init__(
        self, node: Node, box: InstructionBox, on_change: Callable[[], None], group: CallbackGroup
    ) -> None:
        self._node = node
        self._box = box
        self._on_change = on_change
        self._lock = Lock()
        self._published: str | None = None
        self._publisher = self._create_publisher()
        subscribe_instruction(node, self._on_topic)
        node.create_service(
            SetInstruction, "~/set_instruction", self._on_service, callback_group=group
        )

    def _create_publisher(self) -> Publisher:
        return self._node.create_publisher(
            String, "instruction", qos.LATCHED, event_callbacks=rclpy_patches.NO_PUBLISHER_EVENTS
        )

    def _on_topic(self, msg: String) -> None:
        if problem := instruction_problem(msg.data):
            self._node.get_logger().error(f"instruction rejected: {problem}")
            return
        with self._lock:
            if self._published is not None and msg.data != self._published:
                # Another node has published since then: a late joiner must not receive our latched
                # instruction as well. It can only be removed by destroying the publisher.
                self._published = None
                self._node.destroy_publisher(self._publisher)
                self._publisher = self._create_publisher()
            self._set(msg.data)

    def _on_service(
        self, request: SetInstruction.Request, response: SetInstruction.Response
    ) -> SetInstruction.Response:
        if problem := instruction_problem(request.instruction):
            response.message = problem
            response.instruction_id = self._box.current.id
            return response
        with self._lock:
            self._set(request.instruction)
            self._published = request.instruction
            self._publisher.publish(String(data=request.instruction))
            current = self._box.current
        response.success = True
        response.message = "stopped: the instruction is empty" if current.stops else current.text
        response.instruction_id = current.id
        return response

    def _set(self, text: str) -> None:
        if self._box.set(text):
            self._node.get_logger().info(f"instruction {self._box.current.id}: '{text}'")
            self._on_change()
