# SPDX-License-Identifier: Apache-2.0
"""Controllers of the contract, and the interface of controller types.

A controller type is one module of `groot_ros.bridge.controllers`, named as in the contract. It
says how its controllers are commanded, reads its own keys of the contract, and connects to ROS.
"""

import importlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar, Literal

from groot_ros.core.config import module_names
from groot_ros.core.config_reader import Fields
from groot_ros.robot.fields import read_joint_names, read_topic
from groot_ros.robot.joint import Joint

Interpolation = Literal["linear", "cubic", "quintic"]
#: How a controller is commanded: by a trajectory when the motion changes, by the present positions
#: in each tick while the robot moves, or by a target position of which the output sends changes.
CommandForm = Literal["trajectory", "positions", "target"]
#: Wraps a callback so that its exceptions are handled by the node.
Guard = Callable[[Callable[..., Any]], Callable[..., Any]]

INTERPOLATIONS: tuple[Interpolation, ...] = ("linear", "cubic", "quintic")


@dataclass(frozen=True)
class StateTopic:
    """Topic on which a controller reports the motion that it follows.

    Attributes:
        message: type of the topic.
        name: command topic -> state topic.
        reference: message -> joint -> rad or m; empty while the controller reports none.
        speed_scaling: message -> factor on the controller's trajectory clock; None without one.

    """

    message: type
    name: Callable[[str], str]
    reference: Callable[[Any], Mapping[str, float]]
    speed_scaling: Callable[[Any], float | None] = lambda _: None


class CommandOutput(ABC):
    """Connection to one controller, from configure to cleanup.

    Attributes:
        topics: full names of the topics on which it publishes; another publisher on one of them
            is a conflict.

    """

    topics: tuple[str, ...] = ()

    @abstractmethod
    def send(self, command: Any, now_ns: int) -> None:
        """Command the controller.

        Args:
            command: the part of the committed motion that the controller executes: a
                control.JointTrajectory, or positions [n], rad or m, in the order of its joints.
            now_ns: present time.

        """

    def cancel(self) -> None:  # noqa: B027
        """Cancel the goals in execution, for an emergency stop; by default there are none."""

    def fault(self) -> str:
        """Return why the controller cannot be commanded, or an empty string.

        Called about once a second while the executor is active.
        """
        return ""

    def wait_for_acknowledgement(self, timeout: float) -> bool:
        """Return whether all subscribers have acknowledged the last message within `timeout` s."""
        return True

    @abstractmethod
    def destroy(self) -> None:
        """Disconnect; what the controller executes is not changed."""


class ControllerType(ABC):
    """Interface of one type of controller.

    The contract is read where ROS is not installed, so ROS is imported in the methods.

    Attributes:
        command: how its controllers are commanded.
        default_topic: last part of the default name of the command topic or action.
        topic_key: key of the contract for this name.
        target_lead: for "target": how far ahead of now the target lies on the committed motion, s.

    """

    command: ClassVar[CommandForm]
    default_topic: ClassVar[str]
    topic_key: ClassVar[Literal["topic", "action"]] = "topic"
    target_lead: ClassVar[float] = 0.0

    def read_options(self, section: Fields, joints: Sequence[Joint]) -> object:
        """Read the keys that only this type has, for these joints; raises ContractError."""
        return None

    @abstractmethod
    def connect(self, node: Any, controller: "Controller", guard: Guard) -> CommandOutput:
        """Create publishers or clients.

        Args:
            node: the rclpy node that commands the controller.
            controller: its entry of the contract.
            guard: wraps every callback that is not created by the node.

        """

    def command_message(self) -> str:
        """Return the type of the command topic, such as "std_msgs/msg/Bool"; "" for an action."""
        return ""

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
    """One controller, and its joints in the order that it expects.

    Attributes:
        name: as in the controller manager.
        type: name of its ControllerType.
        topic: its command topic or action.
        joints: names.
        interpolation: between the steps of a chunk.
        options: what read_options() of its type returned.

    """

    name: str
    type: str
    topic: str
    joints: tuple[str, ...]
    interpolation: Interpolation
    options: Any = None

    @property
    def command(self) -> CommandForm:
        """Return how it is commanded."""
        return controller_type(self.type).command

    @property
    def has_topic(self) -> bool:
        """Return whether it is commanded on a topic, not by an action."""
        return controller_type(self.type).topic_key == "topic"


def read_controller(section: Fields, all_joints: Mapping[str, Joint]) -> Controller:
    """Read one entry of `controllers:`; the topic defaults to the usual one of its type."""
    name = section.name("name")
    kind = section.choice("type", controller_types(), "joint_trajectory_controller")
    own = controller_type(kind)
    topic = read_topic(section, own.topic_key, f"{name}/{own.default_topic}")
    joints = read_joint_names(section, all_joints)
    interpolation = section.choice("interpolation", INTERPOLATIONS, "cubic")
    options = own.read_options(section, [all_joints[joint] for joint in joints])
    section.finish()
    return Controller(name, kind, topic, joints, interpolation, options)
