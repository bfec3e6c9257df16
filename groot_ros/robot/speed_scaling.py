# SPDX-License-Identifier: Apache-2.0
"""The topic on which a robot reports its speed scaling, for example by its speed slider."""

import builtins
from dataclasses import dataclass

from groot_ros.core.config_reader import Fields
from groot_ros.robot.fields import read_topic

#: Message types -> the field with the number.
TYPES = {
    "std_msgs/Float64": "data",
    "std_msgs/Float32": "data",
    "std_msgs/Int16": "data",
    "std_msgs/Int32": "data",
    "std_msgs/UInt8": "data",
    "control_msgs/SpeedScalingFactor": "factor",
}


@dataclass(frozen=True)
class SpeedScalingTopic:
    """A topic that reports the speed scaling of the robot.

    Attributes:
        topic: its name.
        type: one of `TYPES`.
        scale: multiplied with the number gives the factor, 1 at full speed: 0.01 for percent.

    """

    topic: str
    type: str
    scale: float

    def message_type(self) -> builtins.type:
        """Return the type of the topic; ImportError if its package is not installed."""
        from importlib import import_module

        package, name = self.type.split("/")
        found: builtins.type = getattr(import_module(f"{package}.msg"), name)
        return found

    def factor(self, msg: object) -> float:
        """Return the factor that a message reports; NaN if it reports none."""
        return self.scale * float(getattr(msg, TYPES[self.type]))


def read_speed_scaling(root: Fields) -> SpeedScalingTopic | None:
    """Read `speed_scaling:` of the contract; None if it has none."""
    if not root.has("speed_scaling"):
        return None
    section = root.section("speed_scaling")
    topic = SpeedScalingTopic(
        read_topic(section, "topic"),
        section.choice("type", tuple(TYPES), "std_msgs/Float64"),
        section.number("scale", 1.0, above=0.0),
    )
    section.finish()
    return topic
