"""One joint: its limits, and the unit its data set speaks."""

import math
from collections.abc import Mapping
from dataclasses import astuple, dataclass
from typing import Literal

from groot_ros.robot.limit_sources import StatedLimits, tightest
from groot_ros.robot.reader import Section
from groot_ros.robot.units import UnitMap

#: Model units that have a name, per radian of a revolute joint and per metre of a prismatic one.
_NAMED_SCALES = {
    "revolute": {"rad": 1.0, "deg": math.degrees(1.0)},
    "prismatic": {"m": 1.0, "mm": 1000.0},
}


@dataclass(frozen=True)
class JointLimits:
    """Bounds of position (rad or m), velocity (1/s), acceleration (1/s^2) and jerk (1/s^3).

    Infinite jerk is unlimited jerk.
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
    kind: Literal["revolute", "prismatic"]
    limits: JointLimits
    units: UnitMap

    @property
    def unit(self) -> str:
        """The SI unit of its position on every topic."""
        return "rad" if self.kind == "revolute" else "m"


#: What can be a robot's: rad/s or m/s, and per s, and per s^2.
_VELOCITIES, _ACCELERATIONS, _JERKS = (1e-3, 100.0), (1e-2, 1e4), (0.1, 1e6)
#: m: no joint slides further.
_FURTHEST = 100.0
#: rad or m that a gripper's end may lie beyond the position limits: rounded figures.
_ROUNDED = 0.005

#: No arm's joint turns further than this, rad; a limit in degrees does.
_MOST_TURNS = 4 * math.pi


def read_joint(
    name: str, section: Section, gripper: UnitMap | None, elsewhere: StatedLimits | None = None
) -> Joint:
    """One entry of `joints:`; a gripper joint's unit map comes from `gripper:`.

    Of each limit the tighter one counts, the contract's or what is stated elsewhere.
    """
    kind = section.text("type", "revolute", choices=("revolute", "prismatic"))
    lower, upper = section.interval("position")
    if kind == "revolute" and max(-lower, upper) > _MOST_TURNS:
        raise section.error(
            "position", f"[{lower:g}, {upper:g}] is beyond two turns: limits are in rad, not deg"
        )
    if max(-lower, upper) > _FURTHEST:
        raise section.error("position", f"[{lower:g}, {upper:g}] is beyond {_FURTHEST:g} m")
    own = StatedLimits(
        lower,
        upper,
        section.within("velocity", _VELOCITIES),
        section.within("acceleration", _ACCELERATIONS),
        section.within("jerk", _JERKS) if section.has("jerk") else math.inf,
    )
    both = tightest([own] if elsewhere is None else [own, elsewhere])
    if both.lower >= both.upper:
        assert elsewhere is not None
        raise section.error(
            "position",
            f"[{lower:g}, {upper:g}] has nothing in common with "
            f"[{elsewhere.lower:g}, {elsewhere.upper:g}] of the URDF or joint_limits",
        )
    for what in ("velocity", "acceleration", "jerk"):
        if getattr(both, what) <= 0.0:
            raise section.error(what, "is not above 0 in the URDF or joint_limits")
    limits = JointLimits(*astuple(both))
    units = UnitMap()
    if section.has("model"):
        if gripper is not None:
            raise section.error("model", "its units are already said under 'gripper'")
        units = _read_units(section.section("model"), _NAMED_SCALES[kind])
    section.finish()
    return Joint(name, "revolute" if kind == "revolute" else "prismatic", limits, gripper or units)


def _read_units(section: Section, scales: Mapping[str, float]) -> UnitMap:
    if section.has("unit") and section.has("scale"):
        raise section.error("scale", "give either 'unit' or 'scale', not both")
    if section.has("unit"):
        scale = scales[section.text("unit", choices=tuple(scales))]
    else:
        scale = section.number("scale", 1.0, above=0.0)
    sign = section.number("sign", 1.0)
    if sign not in (1.0, -1.0):
        raise section.error("sign", f"must be 1 or -1, not {sign:g}")
    units = UnitMap(sign, scale, section.number("offset", 0.0))
    section.finish()
    return units


def read_gripper(section: Section) -> UnitMap:
    """One entry of `gripper:`, the convention as two ends: {closed: {si, model}, open: ...}."""
    ends = []
    for key in ("closed", "open"):
        end = section.section(key)
        ends.append((end.number("si"), end.number("model")))
        end.finish()
    section.finish()
    (closed_si, closed_model), (open_si, open_model) = ends
    if closed_si == open_si:
        raise section.error("open.si", f"equals closed.si ({open_si:g}): the gripper cannot move")
    if closed_model == open_model:
        raise section.error("open.model", f"equals closed.model ({open_model:g})")
    return UnitMap.through(ends[0], ends[1])


def check_gripper(section: Section, joint: Joint) -> None:
    """Refuse an end that the joint cannot reach."""
    lower, upper = joint.limits.lower, joint.limits.upper
    for key in ("closed", "open"):
        end = section.section(key).number("si")
        if not lower - _ROUNDED <= end <= upper + _ROUNDED:
            raise section.error(
                f"{key}.si",
                f"{end:g} is beyond the position limits {lower:g} to {upper:g} of '{joint.name}'",
            )
