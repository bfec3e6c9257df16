"""Where commands go."""

from dataclasses import dataclass
from typing import Literal

from groot_ros.robot.reader import Section

ControllerType = Literal["joint_trajectory_controller", "forward_command_controller"]
Interpolation = Literal["linear", "cubic", "quintic"]


@dataclass(frozen=True)
class Controller:
    """One controller, its command topic and its joints, in the order of its own configuration."""

    name: str
    type: ControllerType
    topic: str
    joints: tuple[str, ...]
    interpolation: Interpolation


_TYPES: tuple[ControllerType, ...] = ("joint_trajectory_controller", "forward_command_controller")
_INTERPOLATIONS: tuple[Interpolation, ...] = ("linear", "cubic", "quintic")
_TOPIC = {
    "joint_trajectory_controller": "joint_trajectory",
    "forward_command_controller": "commands",
}


def read_controller(section: Section, all_joints: tuple[str, ...]) -> Controller:
    """One entry of `controllers:`; the topic defaults to the controller's usual one."""
    name = section.text("name")
    chosen_type = section.text("type", _TYPES[0], choices=_TYPES)
    kind = next(t for t in _TYPES if t == chosen_type)
    topic = section.topic("topic", f"{name}/{_TOPIC[kind]}")
    joints = section.names("joints")
    for joint in joints:
        if joint not in all_joints:
            raise section.error("joints", f"'{joint}' is not under 'joints:' of the contract")
    chosen = section.text("interpolation", "cubic", choices=_INTERPOLATIONS)
    section.finish()
    interpolation = next(i for i in _INTERPOLATIONS if i == chosen)
    return Controller(name, kind, topic, joints, interpolation)
