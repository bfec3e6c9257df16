# SPDX-License-Identifier: Apache-2.0
"""Controllers that are commanded by messages on a topic.

The contract is read where ROS is not installed, so ROS is imported in the functions.
"""

from abc import abstractmethod
from typing import Any

from groot_ros.robot.controller import CommandOutput, Controller, ControllerType, Guard


def type_name(message: type) -> str:
    """Return the ROS name of a message type, such as "std_msgs/msg/Bool"."""
    return f"{message.__module__.partition('.')[0]}/msg/{message.__name__}"


class TopicOutput(CommandOutput):
    """Publisher of the commands of one controller."""

    def __init__(self, node: Any, controller: Controller, kind: "TopicControllerType") -> None:
        from groot_ros.bridge import qos

        self._node = node
        self._kind = kind
        self._publisher = node.create_publisher(kind.message_type(), controller.topic, qos.COMMAND)
        self.topics = (self._publisher.topic_name,)

    def send(self, command: Any, now_ns: int) -> None:
        """Publish a command."""
        self._publisher.publish(self._kind.to_message(command))

    def wait_for_acknowledgement(self, timeout: float) -> bool:
        """Return whether all subscribers have acknowledged the last message within `timeout` s."""
        from rclpy.duration import Duration

        return bool(self._publisher.wait_for_all_acked(Duration(seconds=timeout)))

    def destroy(self) -> None:
        """Destroy the publisher."""
        self._node.destroy_publisher(self._publisher)


class TopicControllerType(ControllerType):
    """Type of controllers for which each command is one message."""

    @abstractmethod
    def message_type(self) -> type:
        """Return the type of the command topic."""

    def command_message(self) -> str:
        """Return the name of message_type()."""
        return type_name(self.message_type())

    @abstractmethod
    def to_message(self, command: Any) -> Any:
        """Convert a command to its message."""

    def connect(self, node: Any, controller: Controller, guard: Guard) -> CommandOutput:
        """Create the publisher."""
        return TopicOutput(node, controller, self)
