# SPDX-License-Identifier: Apache-2.0
"""Error, topic names and joint names that all sections of the robot contract share."""

import re
from collections.abc import Container
from typing import Any

from groot_ros.core.config_reader import REQUIRED, ConfigError, Fields

#: Regular expression of a topic name, absolute or relative; ASCII only.
TOPIC_NAME = r"/?[A-Za-z_][A-Za-z0-9_]*(/[A-Za-z_][A-Za-z0-9_]*)*"


class ContractError(ConfigError):
    """The robot contract is wrong; the message names file, key and how to fix it."""


def is_topic_name(name: str) -> bool:
    """Return whether this is a ROS topic name, absolute or relative."""
    return re.fullmatch(TOPIC_NAME, name) is not None


def read_topic(section: Fields, key: str, default: Any = REQUIRED) -> str:
    """Return a ROS topic name, absolute or relative to the namespace of the robot."""
    value = section.name(key, default)
    if not is_topic_name(value):
        raise section.error(
            key,
            f"must be a topic name, not '{value}': words of letters, digits and _, "
            "none beginning with a digit, joined by /",
        )
    return value


def read_joint_name(section: Fields, key: str, joints: Container[str]) -> str:
    """Return the name of a joint of the contract."""
    name = section.name(key)
    if name not in joints:
        raise section.error(key, f"names '{name}', which is not under 'joints' of the contract")
    return name


def read_joint_names(section: Fields, joints: Container[str]) -> tuple[str, ...]:
    """Return the joints that a section lists under `joints`, all of which the contract has."""
    names = section.names("joints")
    for name in names:
        if name not in joints:
            raise section.error(
                "joints", f"names '{name}', which is not under 'joints' of the contract"
            )
    return names
