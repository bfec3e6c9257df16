# SPDX-License-Identifier: Apache-2.0
"""Joints: limits, gripper ends, and the maps between SI units and those of the checkpoint."""

import math
from dataclasses import astuple, dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from groot_ros.core.config_reader import Fields
from groot_ros.robot.limit_sources import StatedLimits, tightest

JointType = Literal["revolute", "continuous", "prismatic"]

_ANGLES = {"rad": 1.0, "deg": math.degrees(1.0)}
#: Joint type -> name of a model unit -> number of these units per rad or m.
NAMED_SCALES: dict[JointType, dict[str, float]] = {
    "revolute": _ANGLES,
    "continuous": _ANGLES,
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

    Infinity means no limit: of the jerk, and of the position of a continuous joint.
    """

    lower: float
    upper: float
    velocity: float
    acceleration: float
    jerk: float = math.inf


@dataclass(frozen=True)
class GripperEnds:
    """Positions of a closed and of an open gripper, rad or m; closed may be the larger one."""

    closed: float
    open: float


@dataclass(frozen=True)
class Joint:
    """One joint of the robot, commanded or only read.

    Attributes:
        kind: `continuous` joints turn without end; their positions have no limits.
        gripper: ends of a gripper, else None. A gripper is not blended into a new chunk, and may
            stay away from its command because it holds an object.
        units: units of the checkpoint's state columns.
        action_units: units of the checkpoint's action columns.

    """

    name: str
    kind: JointType
    limits: JointLimits
    gripper: GripperEnds | None
    units: UnitMap
    action_units: UnitMap

    @property
    def unit(self) -> str:
        """Return the SI unit of its position on every topic."""
        return "m" if self.kind == "prismatic" else "rad"


def read_joint(name: str, section: Fields, other: StatedLimits | None = None) -> Joint:
    """Read one entry of `joints:`.

    Args:
        name: key of the entry.
        section: the entry.
        other: limits from the URDF and joint_limits; of each limit the tighter value is used.

    """
    kind = _read_type(section, "" if other is None else other.kind)
    limits = _read_limits(section.section("limits"), kind, other)
    gripper = _read_gripper(section, limits) if section.has("gripper") else None
    units = _read_units(section, "unit_in", kind, gripper) or UnitMap()
    action_units = _read_units(section, "unit_out", kind, gripper) or units
    section.finish()
    return Joint(name, kind, limits, gripper, units, action_units)


def _read_type(section: Fields, stated: str) -> JointType:
    """Read `type:`; a continuous joint of the URDF may be limited by `type: revolute`."""
    kind: JointType = section.choice("type", tuple(NAMED_SCALES), "revolute")
    limited = section.has("type") and (kind, stated) == ("revolute", "continuous")
    if stated not in ("", kind) and not limited:
        raise section.error("type", f"is {kind}, but {stated} in the URDF: set 'type: {stated}'")
    return kind


def _read_limits(section: Fields, kind: JointType, other: StatedLimits | None) -> JointLimits:
    lower, upper = _read_position(section, kind)

    def bound(key: str, limits: tuple[float, float]) -> float:
        return section.number(key, at_least=limits[0], at_most=limits[1])

    own = StatedLimits(
        lower,
        upper,
        bound("velocity", VELOCITY_RANGE),
        bound("acceleration", ACCELERATION_RANGE),
        bound("jerk", JERK_RANGE) if section.has("jerk") else math.inf,
    )
    section.finish()
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
    return JointLimits(*astuple(combined)[:5])


def _read_position(section: Fields, kind: JointType) -> tuple[float, float]:
    if kind == "continuous":
        if section.has("position"):
            raise section.error(
                "position", "must not be given: a continuous joint turns without end"
            )
        return -math.inf, math.inf
    lower, upper = section.interval("position")
    if kind == "revolute" and max(-lower, upper) > MAX_ANGLE:
        raise section.error(
            "position",
            f"is [{lower:g}, {upper:g}], beyond two turns: give limits in rad, not deg, "
            "or set 'type: continuous'",
        )
    if max(-lower, upper) > MAX_TRAVEL:
        raise section.error(
            "position", f"is [{lower:g}, {upper:g}], beyond {MAX_TRAVEL:g} m: give limits in m"
        )
    return lower, upper


def _read_gripper(section: Fields, limits: JointLimits) -> GripperEnds | None:
    """Read `gripper:`, true (closed at the lower position limit) or {closed, open}."""
    if isinstance(section.get("gripper"), bool):
        return GripperEnds(limits.lower, limits.upper) if section.flag("gripper") else None
    ends = section.section("gripper")
    gripper = GripperEnds(ends.number("closed"), ends.number("open"))
    ends.finish()
    if gripper.closed == gripper.open:
        raise ends.error(
            "open", f"equals closed ({gripper.closed:g}): give the positions of both ends"
        )
    for key, end in (("closed", gripper.closed), ("open", gripper.open)):
        if not limits.lower - GRIPPER_ROUNDING <= end <= limits.upper + GRIPPER_ROUNDING:
            raise ends.error(
                key,
                f"is {end:g}, outside the position limits [{limits.lower:g}, {limits.upper:g}]",
            )
    return gripper


def _read_units(
    section: Fields, key: str, kind: JointType, gripper: GripperEnds | None
) -> UnitMap | None:
    """Read `unit_in` or `unit_out`: a name, {unit|scale, sign, offset} or {closed, open}."""
    scales = NAMED_SCALES[kind]
    if not section.has(key):
        return None
    if isinstance(section.get(key), str):
        return UnitMap(scale=scales[section.choice(key, tuple(scales))])
    units = section.section(key)
    if units.has("closed") or units.has("open"):
        return _read_gripper_units(section, key, gripper)
    if units.has("unit") and units.has("scale"):
        raise units.error("scale", "must not be given together with 'unit'")
    if units.has("unit"):
        scale = scales[units.choice("unit", tuple(scales))]
    else:
        scale = units.number("scale", 1.0, above=0.0)
    sign = units.number("sign", 1.0)
    if sign not in (1.0, -1.0):
        raise units.error("sign", f"must be 1 or -1, not {sign:g}")
    found = UnitMap(sign, scale, units.number("offset", 0.0))
    units.finish()
    return found


def _read_gripper_units(section: Fields, key: str, gripper: GripperEnds | None) -> UnitMap:
    """Read the data set's values of a closed and of an open gripper."""
    units = section.section(key)
    closed, opened = units.number("closed"), units.number("open")
    units.finish()
    if gripper is None:
        raise section.error(
            key, "gives the values of a closed and an open gripper: add 'gripper: {closed, open}'"
        )
    if closed == opened:
        raise units.error("open", f"equals closed ({closed:g}): give the values of both ends")
    return UnitMap.through((gripper.closed, closed), (gripper.open, opened))
