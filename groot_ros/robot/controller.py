"""Controllers of the contract, and the table of controller types."""

from dataclasses import dataclass
from typing import Literal

from groot_ros.core.config_reader import Fields
from groot_ros.robot.reader import read_joint_names, read_topic

ControllerType = Literal["joint_trajectory_controller", "forward_command_controller"]
Interpolation = Literal["linear", "cubic", "quintic"]

#: Controller type -> last part of its default command topic. A new type is one entry here and in
#: ControllerType, and its conversion of trajectories in `bridge`.
CONTROLLER_TOPICS: dict[ControllerType, str] = {
    "joint_trajectory_controller": "joint_trajectory",
    "forward_command_controller": "commands",
}
INTERPOLATIONS: tuple[Interpolation, ...] = ("linear", "cubic", "quintic")


@dataclass(frozen=True)
class Controller:
    """One controller: its command topic, and its joints in the order that it expects."""

    name: str
    type: ControllerType
    topic: str
    joints: tuple[str, ...]
    interpolation: Interpolation


def read_controller(section: Fields, all_joints: tuple[str, ...]) -> Controller:
    """Read one entry of `controllers:`; the topic defaults to the usual one of its type."""
    name = section.name("name")
    kind = section.choice("type", tuple(CONTROLLER_TOPICS), "joint_trajectory_controller")
    topic = read_topic(section, "topic", f"{name}/{CONTROLLER_TOPICS[kind]}")
    joints = read_joint_names(section, all_joints)
    interpolation = section.choice("interpolation", INTERPOLATIONS, "cubic")
    section.finish()
    return Controller(name, kind, topic, joints, interpolation)
