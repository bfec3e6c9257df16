# SPDX-License-Identifier: Apache-2.0
"""Joints: limits, and the map between SI units and those of the checkpoint."""

import math
from collections.abc import Mapping
from dataclasses import astuple, dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from groot_ros.core.config_reader import Fields
from groot_ros.robot.limit_sources import StatedLimits, tightest

JointType = Literal["revolute", "prismatic"]

#: Joint type -> name of a model unit -> number of these units per rad or m.
NAMED_SCALES: dict[JointType, dict[str, float]] = {
    "revolute": {"rad": 1.0, "deg": math.degrees(1.0)},
    "prismatic": {"m": 1.0, "mm": 1000.0},
}
#: Plausible limits of a joint: velocity (rad/s or m/s), acceleration (1/s^2), jerk (1/s^3).
VELOCITY_RANGE = (1e-3, 100.0)
ACCELERATION_RANGE = (1e-2, 1e4)
JERK_RANGE = (0.1, 1e6)
#: rad, two turns: a larger position limit of a revolute joint was written in degrees.
MAX_ANGLE = 4 * math.pi
#: m, longest plausible travel of a prismatic joint.
MAX_TRAVEL = 100.0
#: rad or m by which a gripper's end may exceed the position limits, as it is often rounded.
GRIPPER_ROUNDING = 0.005


@dataclass(frozen=True)
class UnitMap:
    """Invertible map of one joint's values: model = sign * scale * (si - offset).

    Attributes:
        sign: 1, or -1 where the data set counts in the opposite direction.
        scale: model units per rad (or m), > 0; 57.29578 for degrees.
        offset: SI value at which the model's value is 0, rad or m.

    Raises:
        ValueError: the sign is not 1 or -1, the scale not positive, or a number not finite.

    """

    sign: float = 1.0
    scale: float = 1.0
    offset: float = 0.0

    def __post_init__(self) -> None:
        if self.sign not in (1.0, -1.0):
            raise ValueError(f"sign must be 1 or -1, not {self.sign}")
        if not (np.isfinite(self.scale) and self.scale > 0 and np.isfinite(self.offset)):
            raise ValueError(
                f"scale must be positive and offset finite, not {self.scale}, {self.offset}"
            )

    @classmethod
    def through(cls, closed: tuple[float, float], opened: tuple[float, float]) -> "UnitMap":
        """Return the linear map through two (si, model) pairs, the two ends of a gripper."""
        slope = (opened[1] - closed[1]) / (opened[0] - closed[0])
        return cls(float(np.sign(slope)), abs(slope), closed[0] - closed[1] / slope)

    def to_model(self, si: ArrayLike) -> NDArray[np.float64]:
        """Convert rad or m to the checkpoint's unit."""
        return self.sign * self.scale * (np.asarray(si, dtype=np.float64) - self.offset)

    def to_si(self, model: ArrayLike) -> NDArray[np.float64]:
        """Convert the checkpoint's unit to rad or m."""
        return self.sign * np.asarray(model, dtype=np.float64) / self.scale + self.offset


@dataclass(frozen=True)
class JointLimits:
    """Bounds of position (rad or m), velocity (1/s), acceleration (1/s^2) and jerk (1/s^3).

    A jerk limit of infinity means none.
    """

    lower: float
    upper: float
    velocity: float
    acceleration: float
    jerk: float = math.inf


@dataclass(frozen=True)
class Joint:
    """One actuated joint of the robot."""

    name: str
    kind: JointType
    limits: JointLimits
    units: UnitMap

    @property
    def unit(self) -> str:
        """Return the SI unit of its position on every topic."""
        return "rad" if self.kind == "revolute" else "m"


def read_joint(
    name: str, section: Fields, gripper: UnitMap | None, other: StatedLimits | None = None
) -> Joint:
    """Read one entry of `joints:`.

    Args:
        name: key of the entry.
        section: the entry.
        gripper: unit map from `gripper:`, if the joint is listed there.
        other: limits from the URDF and joint_limits; of each limit the tighter value is used.

    """
    kind = section.choice("type", tuple(NAMED_SCALES), "revolute")
    limits = _read_limits(section, kind, other)
    units = UnitMap()
    if section.has("model"):
        if gripper is not None:
            raise section.error(
                "model", f"must not be given: 'gripper' already defines the units of '{name}'"
            )
        units = _read_units(section.section("model"), NAMED_SCALES[kind])
    section.finish()
    return Joint(name, kind, limits, gripper or units)


def _read_limits(section: Fields, kind: JointType, other: StatedLimits | None) -> JointLimits:
    lower, upper = section.interval("position")
    if kind == "revolute" and max(-lower, upper) > MAX_ANGLE:
        raise section.error(
            "position", f"is [{lower:g}, {upper:g}], beyond two turns: give limits in rad, not deg"
        )
    if max(-lower, upper) > MAX_TRAVEL:
        raise section.error(
            "position", f"is [{lower:g}, {upper:g}], beyond {MAX_TRAVEL:g} m: give limits in m"
        )

    def bound(key: str, limits: tuple[float, float]) -> float:
        return section.number(key, at_least=limits[0], at_most=limits[1])

    own = StatedLimits(
        lower,
        upper,
        bound("velocity", VELOCITY_RANGE),
        bound("acceleration", ACCELERATION_RANGE),
        bound("jerk", JERK_RANGE) if section.has("jerk") else math.inf,
    )
    combined = tightest([own] if other is None else [own, other])
    if combined.lower >= combined.upper:
        assert other is not None
        raise section.error(
            "position",
            f"is [{lower:g}, {upper:g}], which does not overlap [{other.lower:g}, "
            f"{other.upper:g}] of the URDF or joint_limits",
        )
    for key in ("velocity", "acceleration", "jerk"):
        if getattr(combined, key) <= 0.0:
            raise section.error(
                key, "has a limit of 0 or less in the URDF or joint_limits: correct it there"
            )
    return JointLimits(*astuple(combined))


def _read_units(section: Fields, scales: Mapping[str, float]) -> UnitMap:
    if section.has("unit") and section.has("scale"):
        raise section.error("scale", "must not be given together with 'unit'")
    if section.has("unit"):
        scale = scales[section.choice("unit", tuple(scales))]
    else:
        scale = section.number("scale", 1.0, above=0.0)
    sign = section.number("sign", 1.0)
    if sign not in (1.0, -1.0):
        raise section.error("sign", f"must be 1 or -1, not {sign:g}")
    units = UnitMap(sign, scale, section.number("offset", 0.0))
    section.finish()
    return units


def read_gripper(section: Fields) -> UnitMap:
    """Read one entry of `gripper:`, two ends: {closed: {si, model}, open: {si, model}}."""
    ends = []
    for key in ("closed", "open"):
        end = section.section(key)
        ends.append((end.number("si"), end.number("model")))
        end.finish()
    section.finish()
    (closed_si, closed_model), (open_si, open_model) = ends
    if closed_si == open_si:
        raise section.error(
            "open.si", f"equals closed.si ({open_si:g}): give the positions of both ends"
        )
    if closed_model == open_model:
        raise section.error(
            "open.model", f"equals closed.model ({open_model:g}): give the values of both ends"
        )
    return UnitMap.through(ends[0], ends[1])


def check_gripper(section: Fields, joint: Joint) -> None:
    """Reject an end of the gripper that lies outside the position limits of its joint."""
    lower, upper = joint.limits.lower, joint.limits.upper
    for key in ("closed", "open"):
        end = section.section(key).number("si")
        if not lower - GRIPPER_ROUNDING <= end <= upper + GRIPPER_ROUNDING:
            raise section.error(
                f"{key}.si",
                f"is {end:g}, outside the position limits [{lower:g}, {upper:g}] "
                f"of joint '{joint.name}'",
            )
