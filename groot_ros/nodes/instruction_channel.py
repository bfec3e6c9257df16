"""The instruction as it comes: by topic and by service, both to the same effect."""

from collections.abc import Callable
from threading import Lock

from rclpy.callback_groups import CallbackGroup, MutuallyExclusiveCallbackGroup
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.subscription import Subscription
from std_msgs.msg import String

from groot_ros.bridge import no_events, qos
from groot_ros.observation.instruction import InstructionBox, problem
from groot_ros.srv import SetInstruction


def subscribe_instruction(node: Node, hear: Callable[[String], None]) -> list[Subscription]:
    """Listen to the topic whatever the QoS of who speaks.

    Every word comes twice, each time in its order: by two subscriptions in one group, or a
    thread with an old word could be overtaken by one with the next. The reliable one is
    asked last, so the last word is one that nothing can have lost.
    """
    group = MutuallyExclusiveCallbackGroup()
    return [
        node.create_subscription(
            String,
            "instruction",
            hear,
            profile,
            callback_group=group,
            event_callbacks=no_events.SUBSCRIPTION,
        )
        for profile in (qos.INSTRUCTION, qos.INSTRUCTION_LATCHED)
    ]


class InstructionChannel:
    """Fills the box, and repeats on the topic what came by service: the executor listens there.

    Args:
        changed: called after each new instruction.

    """

    def __init__(
        self, node: Node, box: InstructionBox, changed: Callable[[], None], group: CallbackGroup
    ) -> None:
        self._node = node
        self._box = box
        self._changed = changed
        self._lock = Lock()
        self._said: str | None = None
        self._publisher = self._create_publisher()
        subscribe_instruction(node, self._on_topic)
        node.create_service(
            SetInstruction, "~/set_instruction", self._on_service, callback_group=group
        )

    def _create_publisher(self) -> Publisher:
        return self._node.create_publisher(
            String, "instruction", qos.LATCHED, event_callbacks=no_events.PUBLISHER
        )

    def _on_topic(self, msg: String) -> None:
        if why := problem(msg.data):
            self._node.get_logger().error(f"instruction rejected: {why}")
            return
        with self._lock:
            if self._said is not None and msg.data != self._said:
                # Somebody else speaks now: a late joiner must not find our old word beside it.
                self._said = None
                self._node.destroy_publisher(self._publisher)
                self._publisher = self._create_publisher()
            self._follow(msg.data)

    def _on_service(
        self, request: SetInstruction.Request, response: SetInstruction.Response
    ) -> SetInstruction.Response:
        if why := problem(request.instruction):
            response.message = why
            response.instruction_id = self._box.current.id
            return response
        with self._lock:
            self._follow(request.instruction)
            self._said = request.instruction
            self._publisher.publish(String(data=request.instruction))
            current = self._box.current
        response.success = True
        response.message = "stopped: the instruction is empty" if current.stops else current.text
        response.instruction_id = current.id
        return response

    def _follow(self, text: str) -> None:
        if self._box.put(text):
            self._node.get_logger().info(f"instruction {self._box.current.id}: '{text}'")
            self._changed()
