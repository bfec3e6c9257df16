# SPDX-License-Identifier: Apache-2.0
"""Joint limits of other files: the URDF and joint_limits.yaml."""

import math
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from groot_ros.core.config_reader import Fields, unreadable
from groot_ros.robot.fields import ContractError

#: Types of URDF joints that can be commanded.
_JOINT_TYPES = ("revolute", "continuous", "prismatic")


@dataclass(frozen=True)
class StatedLimits:
    """Limits of one joint in one source, rad or m and seconds; infinite where it states none.

    Attributes:
        kind: revolute, continuous or prismatic in the URDF; empty if the source states none.
        mimics: joint of the URDF that this one follows, so no controller moves it; empty if none.

    """

    lower: float = -math.inf
    upper: float = math.inf
    velocity: float = math.inf
    acceleration: float = math.inf
    jerk: float = math.inf
    kind: str = ""
    mimics: str = ""


def tightest(stated: Iterable[StatedLimits]) -> StatedLimits:
    """Return the narrowest bound of each kind; infinite when none is stated."""
    every = [StatedLimits(), *stated]
    return StatedLimits(
        max(s.lower for s in every),
        min(s.upper for s in every),
        min(s.velocity for s in every),
        min(s.acceleration for s in every),
        min(s.jerk for s in every),
        next((s.kind for s in every if s.kind), ""),
        next((s.mimics for s in every if s.mimics), ""),
    )


def read_urdf(path: Path) -> dict[str, StatedLimits]:
    """Return joint -> type and `<limit lower upper velocity>`, with `<safety_controller>`'s limits.

    A URDF states no accelerations. A velocity of 0 counts as not stated, because exporters write
    it for "unknown".

    Raises:
        ContractError: names the file, and the joint with a limit that is not a number, or that
            is given twice.

    """
    try:
        root = ElementTree.parse(path).getroot()
    except OSError as error:
        raise unreadable(path, error, ContractError) from error
    except (ElementTree.ParseError, LookupError, ValueError) as error:  # or unknown encoding
        raise ContractError(f"{path}: is not a URDF (expand xacro files first): {error}") from error
    found: dict[str, StatedLimits] = {}
    for joint in root.iter("joint"):
        name, limit = joint.get("name", ""), joint.find("limit")
        kind = joint.get("type", "")
        if kind not in _JOINT_TYPES:
            continue
        if name in found:
            raise ContractError(f"{path}: joint '{name}' is given twice")
        followed = joint.find("mimic")
        mimics = "" if followed is None else followed.get("joint", "")
        if limit is None:
            found[name] = StatedLimits(kind=kind, mimics=mimics)
            continue
        where = f"{path}: joint '{name}'"
        bounded = kind != "continuous"
        soft = joint.find("safety_controller")
        soft_attributes = {} if soft is None else soft.attrib
        hard = StatedLimits(
            _number(limit.attrib, "lower", -math.inf if not bounded else 0.0, where),
            _number(limit.attrib, "upper", math.inf if not bounded else 0.0, where),
            _number(limit.attrib, "velocity", 0.0, where) or math.inf,
            kind=kind,
            mimics=mimics,
        )
        softer = StatedLimits(
            _number(soft_attributes, "soft_lower_limit", -math.inf, where),
            _number(soft_attributes, "soft_upper_limit", math.inf, where),
        )
        found[name] = tightest([hard, softer])
    return found


def read_joint_limits(path: Path) -> dict[str, StatedLimits]:
    """Return joint -> limits of a joint_limits.yaml, as MoveIt and ros2_control write it.

    Keys read under `joint_limits`: has_position_limits, min_position, max_position,
    has_velocity_limits, max_velocity, has_acceleration_limits, max_acceleration, has_jerk_limits,
    max_jerk. Other keys (effort, scaling) are ignored.

    Raises:
        ContractError: names the file and the key.

    """
    root = Fields.read(path, syntax="yaml", error_type=ContractError)
    return {name: _stated(section) for name, section in root.sections("joint_limits")}


def _stated(section: Fields) -> StatedLimits:
    stated: dict[str, Any] = {}
    for what, keys in (
        ("position", {"lower": "min_position", "upper": "max_position"}),
        ("velocity", {"velocity": "max_velocity"}),
        ("acceleration", {"acceleration": "max_acceleration"}),
        ("jerk", {"jerk": "max_jerk"}),
    ):
        flag = f"has_{what}_limits"
        if section.has(flag) and not section.flag(flag):
            continue
        for field, key in keys.items():
            if section.has(flag) or section.has(key):
                stated[field] = section.number(key)
    return StatedLimits(**stated)


def _number(attributes: Mapping[str, str], key: str, default: float, where: str) -> float:
    try:
        number = float(attributes.get(key, default))
    except ValueError:
        number = math.nan
    if math.isnan(number):
        raise ContractError(f"{where}: {key} must be a number, not '{attributes[key]}'")
    return number
