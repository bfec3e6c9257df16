"""Controller types: the messages of their topics, and how commands become those messages.

Each module is named as the type in the robot contract and defines `CONTROLLER_TYPE`. To add a
type, add a module here, and its row of the contract (its name and default topic) to
`groot_ros.robot.controller`.
"""

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any


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


@dataclass(frozen=True)
class ControllerType:
    """Interface of one type of controller.

    Attributes:
        message: type of the command topic.
        to_message: command -> message. The command is the part of the committed motion that the
            controller executes: a control.JointTrajectory, or present positions [n] in the order
            of its joints.
        state: where it reports what it follows; None if it does not, or if the message type is
            not installed.

    """

    message: type
    to_message: Callable[[Any], Any]
    state: StateTopic | None = None


def controller_type(name: str) -> ControllerType:
    """Return the type of this name; ModuleNotFoundError if there is no module for it."""
    module = importlib.import_module(f"{__name__}.{name}")
    found: ControllerType = module.CONTROLLER_TYPE
    return found
