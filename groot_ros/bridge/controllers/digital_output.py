# SPDX-License-Identifier: Apache-2.0
"""digital_output: a std_msgs/Bool that follows a threshold, for a suction valve or a relay.

The value changes only with the motion of its joint: hold, emergency stop, deactivation and cleanup
keep it, because an object that is held must not fall.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from groot_ros.bridge.gripper_action import PresenceCheck, require_gripper
from groot_ros.core.config_reader import Fields
from groot_ros.robot.controller import CommandOutput, Controller, ControllerType, Guard
from groot_ros.robot.joint import Joint

#: Default of the hysteresis as a share of the stroke.
_HYSTERESIS_SHARE = 0.1
#: s between two messages while the value does not change.
_PERIOD = 1.0


@dataclass(frozen=True)
class DigitalOptions:
    """Keys of the contract that only digital outputs have.

    Attributes:
        threshold: above this position the value becomes true, rad or m.
        hysteresis: the value becomes false this far below the threshold, rad or m.

    """

    threshold: float
    hysteresis: float


class Threshold:
    """A position as a two-valued signal that does not flicker.

    Args:
        threshold: the value becomes true above it.
        hysteresis: the value becomes false below threshold - hysteresis.

    Attributes:
        value: None before the first position.

    """

    def __init__(self, threshold: float, hysteresis: float) -> None:
        self._threshold = threshold
        self._hysteresis = hysteresis
        self.value: bool | None = None

    def update(self, position: float) -> bool:
        """Update the value; return whether it has changed."""
        before = self.value
        if before:
            self.value = position >= self._threshold - self._hysteresis
        else:
            self.value = position > self._threshold
        return self.value is not before


class DigitalOutput(CommandOutput):
    """Latched publisher of the value, which is repeated every second for drivers that time out."""

    def __init__(self, node: Any, controller: Controller) -> None:
        from rclpy.clock import Clock, ClockType
        from std_msgs.msg import Bool

        from groot_ros.bridge import qos

        options: DigitalOptions = controller.options
        self._node = node
        self._controller = controller
        self._message = Bool
        self._value = Threshold(options.threshold, options.hysteresis)
        self._publisher = node.create_publisher(Bool, controller.topic, qos.LATCHED)
        self._repeat = node.create_timer(
            _PERIOD, self._publish, clock=Clock(clock_type=ClockType.STEADY_TIME)
        )
        self.topics = (self._publisher.topic_name,)
        self._subscriber = PresenceCheck()

    def send(self, command: NDArray[np.float64], now_ns: int) -> None:
        """Publish the value if the position, [1] rad or m, has crossed the threshold."""
        self._subscriber.expect()
        if self._value.update(float(command[0])):
            self._publish()
            self._repeat.reset()

    def fault(self) -> str:
        """Return that no node receives the value, or an empty string."""
        if not self._subscriber.is_missing(self._publisher.get_subscription_count() > 0):
            return ""
        return (
            f"digital output '{self._controller.name}' cannot be commanded: no node subscribes to "
            f"{self._publisher.topic_name}; start its driver, or correct 'topic' of this "
            "controller in the robot contract"
        )

    def wait_for_acknowledgement(self, timeout: float) -> bool:
        """Return whether all subscribers have acknowledged the last message within `timeout` s."""
        from rclpy.duration import Duration

        return bool(self._publisher.wait_for_all_acked(Duration(seconds=timeout)))

    def destroy(self) -> None:
        """Destroy the publisher without another message."""
        self._node.destroy_timer(self._repeat)
        self._node.destroy_publisher(self._publisher)

    def _publish(self) -> None:
        if self._value.value is not None:
            self._publisher.publish(self._message(data=self._value.value))


class _DigitalOutputType(ControllerType):
    command = "target"
    default_topic = "command"

    def read_options(self, section: Fields, joints: Sequence[Joint]) -> DigitalOptions:
        """Read threshold and hysteresis; both values must be reached within the position limits."""
        joint, ends = require_gripper(section, joints)
        lower, upper = joint.limits.lower, joint.limits.upper
        threshold = section.number(
            "threshold", (ends.closed + ends.open) / 2, above=lower, at_most=upper
        )
        if threshold >= upper:
            raise section.error(
                "threshold",
                f"is {threshold:g}, which the joint cannot exceed: it is at most {upper:g}",
            )
        hysteresis = section.number(
            "hysteresis", min(_HYSTERESIS_SHARE * (upper - lower), threshold - lower), at_least=0.0
        )
        if threshold - hysteresis < lower:
            raise section.error(
                "hysteresis",
                f"is {hysteresis:g}: the value would stay true, as the joint is at least {lower:g}",
            )
        return DigitalOptions(threshold, hysteresis)

    def command_message(self) -> str:
        """Return the type of the value."""
        return "std_msgs/msg/Bool"

    def connect(self, node: Any, controller: Controller, guard: Guard) -> CommandOutput:
        """Create the publisher."""
        return DigitalOutput(node, controller)


CONTROLLER_TYPE = _DigitalOutputType()
