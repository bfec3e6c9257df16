# SPDX-License-Identifier: Apache-2.0
"""Controllers of the contract, and the interface of controller types.

A controller type is one module of `groot_ros.bridge.controllers`, named as in the contract.
"""

import importlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar, Literal

from groot_ros.core.config import module_names
from groot_ros.core.config_reader import Fields
from groot_ros.robot.fields import read_joint_names, read_topic

Interpolation = Literal["linear", "cubic", "quintic"]

INTERPOLATIONS: tuple[Interpolation, ...] = ("linear", "cubic", "quintic")


@dataclass(frozen=True)
class StateTopic:
    """Topic on which a controller reports the motion that it follows.

    Attributes:
        message: type of the topic.
        name: command topic -> state topic.
        reference: message -> joint -> rad or m; empty while the controller reports none.

    """

    message: type
    name: Callable[[str], str]
    reference: Callable[[Any], Mapping[str, float]]


class ControllerType(ABC):
    """Interface of one type of controller.

    The contract is read where ROS is not installed, so message types are imported in the methods.

    Attributes:
        default_topic: last part of the default command topic.
        streamed: whether it receives the present position in each tick instead of trajectories.

    """

    default_topic: ClassVar[str]
    streamed: ClassVar[bool]

    @abstractmethod
    def message_type(self) -> type:
        """Return the type of the command topic."""

    @abstractmethod
    def to_message(self, command: Any) -> Any:
        """Convert a command to its message.

        Args:
            command: the part of the committed motion that the controller executes: present
                positions [n], rad or m, in the order of its joints if streamed; otherwise a
                control.JointTrajectory.

        """

    def state(self) -> StateTopic | None:
        """Return the topic on which it reports the motion that it follows; None without one."""
        return None


@cache
def controller_type(name: str) -> ControllerType:
    """Return the type of this name; raises ModuleNotFoundError if no module defines it."""
    module = importlib.import_module(f"groot_ros.bridge.controllers.{name}")
    found: ControllerType = module.CONTROLLER_TYPE
    return found


def controller_types() -> tuple[str, ...]:
    """Return the names of all controller types, without importing them."""
    return module_names("bridge/controllers")


@dataclass(frozen=True)
class Controller:
    """One controller: its command topic, and its joints in the order that it expects."""

    name: str
    type: str
    topic: str
    joints: tuple[str, ...]
    interpolation: Interpolation

    @property
    def streamed(self) -> bool:
        """Return whether it receives the present position in each tick instead of trajectories."""
        return controller_type(self.type).streamed


def read_controller(section: Fields, all_joints: Container[str]) -> Controller:
    """Read one entry of `controllers:`; the topic defaults to the usual one of its type."""
    name = section.name("name")
    kind = section.choice("type", controller_types(), "joint_trajectory_controller")
    topic = read_topic(section, "topic", f"{name}/{controller_type(kind).default_topic}")
    joints = read_joint_names(section, all_joints)
    interpolation = section.choice("interpolation", INTERPOLATIONS, "cubic")
    section.finish()
    return Controller(name, kind, topic, joints, interpolation)
