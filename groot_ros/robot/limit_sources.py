"""Limits that others state of the same joints: the URDF and joint_limits.yaml."""

import math
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from groot_ros.robot.distinct_keys import DistinctKeysLoader
from groot_ros.robot.reader import ContractError, Section


@dataclass(frozen=True)
class StatedLimits:
    """What one source says of one joint, rad or m and seconds; infinite where it says nothing."""

    lower: float = -math.inf
    upper: float = math.inf
    velocity: float = math.inf
    acceleration: float = math.inf
    jerk: float = math.inf


def tightest(stated: Iterable[StatedLimits]) -> StatedLimits:
    """The narrowest bound of each kind; unbounded when nothing is stated."""
    every = [StatedLimits(), *stated]
    return StatedLimits(
        max(s.lower for s in every),
        min(s.upper for s in every),
        min(s.velocity for s in every),
        min(s.acceleration for s in every),
        min(s.jerk for s in every),
    )


def read_urdf(path: Path) -> dict[str, StatedLimits]:
    """Joint -> `<limit lower upper velocity>` and the soft limits of `<safety_controller>`.

    Raises ContractError naming the file, and the joint whose number is none. A URDF states no
    accelerations. Velocities of 0 count as unstated: exporters write them for "unknown".
    """
    try:
        root = ElementTree.parse(path).getroot()
    except OSError as error:
        raise ContractError(f"{path}: cannot be read: {error.strerror}") from error
    except ElementTree.ParseError as error:
        raise ContractError(f"{path}: is not a URDF (expand a xacro first): {error}") from error
    found = {}
    for joint in root.iter("joint"):
        name, limit = joint.get("name", ""), joint.find("limit")
        if limit is None:
            continue
        where = f"{path}: joint '{name}'"
        bounded = joint.get("type") != "continuous"
        soft = joint.find("safety_controller")
        soft_attributes = {} if soft is None else soft.attrib
        hard = StatedLimits(
            _number(limit.attrib, "lower", -math.inf if not bounded else 0.0, where),
            _number(limit.attrib, "upper", math.inf if not bounded else 0.0, where),
            _number(limit.attrib, "velocity", 0.0, where) or math.inf,
        )
        softer = StatedLimits(
            _number(soft_attributes, "soft_lower_limit", -math.inf, where),
            _number(soft_attributes, "soft_upper_limit", math.inf, where),
        )
        found[name] = tightest([hard, softer])
    return found


def read_joint_limits(path: Path) -> dict[str, StatedLimits]:
    """Joint -> limits of a joint_limits.yaml, in the form of MoveIt and ros2_control.

    Below `joint_limits`: has_position_limits, min_position, max_position, has_velocity_limits,
    max_velocity, has_acceleration_limits, max_acceleration, has_jerk_limits, max_jerk. Other keys
    (effort, scaling) are not looked at. Raises ContractError naming file and key.
    """
    try:
        value = yaml.load(path.read_text(encoding="utf-8"), DistinctKeysLoader)
    except OSError as error:
        raise ContractError(f"{path}: cannot be read: {error.strerror}") from error
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise ContractError(f"{path}: is not valid YAML: {' '.join(str(error).split())}") from error
    joints = dict(Section(value, f"{path}:").sections("joint_limits"))
    return {name: _stated(section) for name, section in joints.items()}


def _stated(section: Section) -> StatedLimits:
    stated = {}
    for what, keys in (
        ("position", {"lower": "min_position", "upper": "max_position"}),
        ("velocity", {"velocity": "max_velocity"}),
        ("acceleration", {"acceleration": "max_acceleration"}),
        ("jerk", {"jerk": "max_jerk"}),
    ):
        flag = f"has_{what}_limits"
        if section.has(flag) and section.get(flag) is not True:
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
