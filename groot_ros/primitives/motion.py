# SPDX-License-Identifier: Apache-2.0
"""Pick and place, and push: two poses of the tool to one joint path from rest to rest.

Between the poses the joints move on straight lines of joint space, as the PTP motion of industrial
robots; near the table the tool moves on straight lines of space.
"""

import cmath
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial.transform import Rotation, Slerp

from groot_ros.core import ToolPose
from groot_ros.primitives.joint_path import PEAK_SPEED, JointPath, PathBuilder
from groot_ros.primitives.kinematics import ArmKinematics, UnreachableError

Array = NDArray[np.float64]

#: Distance of way points on straight lines: m, and rad.
_STEP, _TURN = 0.01, math.radians(2.0)
#: The arm's bounding boxes may reach this far below the surface, m.
_SURFACE_TOLERANCE = 0.002
#: Way points at which a motion in joint space is compared with the surface.
_CHECKS = 12
#: The tool may sink below the approach height by this share of it on its way.
_MAX_SAG = 0.25
#: Turns of a symmetric tool that are tried, rad, from the one that suits both poses best.
_YAWS = tuple(math.radians(d) for d in (0, 45, -45, 90, -90, 135, -135, 180))


@dataclass(frozen=True)
class MotionSettings:
    """Speeds of the primitives.

    Attributes:
        speed: share of the contract's velocity limits that is used.
        acceleration: share of its acceleration limits that is used. The rest is a reserve for the
            executor, which blends chunks.
        tool_speed: largest speed of the tool on straight lines, m/s.
        dwell: time that the tool waits before and after its gripper or valve is switched, s.

    """

    speed: float = 0.7
    acceleration: float = 0.5
    tool_speed: float = 0.25
    dwell: float = 0.25


def plan_pick_place(
    kinematics: ArmKinematics,
    start: Mapping[str, float],
    pick: ToolPose,
    place: ToolPose,
    settings: MotionSettings | None = None,
) -> JointPath:
    """Plan to pick an object up at one pose and to put it down at another.

    The tool travels at the approach height of the table, moves straight down and up at both poses,
    closes its gripper (or switches its suction on) at the first one and opens it at the second one.

    Args:
        kinematics: the arm.
        start: positions of all joints of `kinematics.joints`, rad or m; more are ignored. The arm
            is at rest there.
        pick: pose of the tool in the table frame at which it picks the object up.
        place: pose at which it puts the object down.
        settings: speeds and waiting times.

    Returns:
        A path of `kinematics.joints`, with the marks "above_pick", "pick", "above_place", "place".

    Raises:
        UnreachableError: a pose is outside the table or cannot be reached; nothing is planned.

    """

    def plan(planner: _Planner, pick: ToolPose, place: ToolPose) -> None:
        planner.approach("pick", pick)
        planner.descend("pick", pick)
        planner.grip(closed=True)
        planner.ascend()
        planner.approach("place", place)
        planner.descend("place", place)
        planner.grip(closed=False)
        planner.ascend()

    return _first_possible(plan, kinematics, start, {"pick": pick, "place": place}, settings)


def plan_push(
    kinematics: ArmKinematics,
    start: Mapping[str, float],
    begin: ToolPose,
    end: ToolPose,
    settings: MotionSettings | None = None,
) -> JointPath:
    """Plan to push along a straight line from one pose to another.

    Args and Raises are those of plan_pick_place.

    Returns:
        A path of `kinematics.joints`, with the marks "above_begin", "begin", "end", "above_end".

    """

    def plan(planner: _Planner, begin: ToolPose, end: ToolPose) -> None:
        planner.approach("begin", begin)
        planner.descend("begin", begin)
        planner.straight("end", end)
        planner.straight("above_end", planner.above(end))

    return _first_possible(plan, kinematics, start, {"begin": begin, "end": end}, settings)


class _Planner:
    """Plans one action step by step, from the end of the path so far."""

    def __init__(
        self, kinematics: ArmKinematics, start: Mapping[str, float], settings: MotionSettings
    ) -> None:
        robot = kinematics.contract
        missing = [name for name in kinematics.joints if name not in start]
        if missing:
            raise ValueError(f"the start has no position of {', '.join(missing)}")
        self.path = PathBuilder(
            [robot.joints[name] for name in kinematics.joints],
            [start[name] for name in kinematics.joints],
            settings.speed,
            settings.acceleration,
        )
        self._kinematics = kinematics
        self._settings = settings
        self._columns = [kinematics.joints.index(name) for name in kinematics.arm]
        self._descent = np.empty((0, len(self._columns)))

    @property
    def arm(self) -> Array:
        """Return the positions of the arm [n] at the end of the path so far."""
        return self.path.end[self._columns]

    def above(self, pose: ToolPose) -> ToolPose:
        """Return the pose straight above another one, at the approach height."""
        x, y, _ = pose.position
        return ToolPose((x, y, self._kinematics.table.approach), pose.rotation)

    def approach(self, name: str, pose: ToolPose) -> None:
        """Move the tool above a pose; straight up first if it is below the approach height."""
        here = self._kinematics.pose(self.arm)
        if here.position[2] < self._kinematics.table.approach - 1e-3:
            self.straight("above_start", self.above(here))
        goal = self.above(pose)
        with _named(f"above_{name}"):
            q = self._kinematics.solve(goal, self.arm)
            share = np.linspace(0.0, 1.0, _CHECKS)[:, None]
            way = self.arm + share * (q - self.arm)
            self._check_surface(way, goal)
        heights = [self._kinematics.pose(row).position[2] for row in way]
        sag = min(heights[0], heights[-1]) - min(heights)
        if sag > _MAX_SAG * self._kinematics.table.approach:
            self.straight(f"above_{name}", goal)
        else:
            self.path.move(self._rows(q[None]))
            self.path.mark(f"above_{name}")

    def descend(self, name: str, pose: ToolPose) -> None:
        """Move the tool straight down to a pose."""
        before = self.arm
        way = self.straight(name, pose)
        self._descent = np.concatenate([before[None], way])

    def ascend(self) -> None:
        """Move the tool back up on the way of the last descent."""
        self._along(self._descent[-2::-1])

    def straight(self, name: str, pose: ToolPose) -> Array:
        """Move the tool on a straight line to a pose; return the arm's way points [m, n]."""
        with _named(name):
            way = self._kinematics.follow(_between(self._kinematics.pose(self.arm), pose), self.arm)
            self._check_surface(way, pose)
        self._along(way)
        self.path.mark(name)
        return way

    def grip(self, *, closed: bool) -> None:
        """Close or open the gripper at rest, and wait."""
        # The arm lags behind its command, and the goal of a gripper action is sent ahead of time.
        self.path.wait(self._settings.dwell)
        name = self._kinematics.gripper
        ends = self._kinematics.contract.joints[name].gripper if name else None
        if name is None or ends is None:
            raise ValueError(
                f"robot '{self._kinematics.contract.robot}' commands no gripper to pick objects up "
                "with: give a joint 'gripper: {closed, open}' in the contract"
            )
        target = self.path.end
        target[self._kinematics.joints.index(name)] = ends.closed if closed else ends.open
        self.path.move(target[None])
        self.path.wait(self._settings.dwell)

    def _along(self, way: Array) -> None:
        """Move along way points of the arm [m, n] on a straight line of space."""
        ends = [np.array(self._kinematics.pose(q).position) for q in (self.arm, way[-1])]
        length = float(np.linalg.norm(ends[1] - ends[0]))
        self.path.move(self._rows(way), PEAK_SPEED * length / self._settings.tool_speed)

    def _rows(self, way: Array) -> Array:
        rows = np.repeat(self.path.end[None], len(way), axis=0)
        rows[:, self._columns] = way
        return rows

    def _check_surface(self, way: Array, goal: ToolPose) -> None:
        lowest = min(self._kinematics.clearance(q) for q in way)
        # An arm that is below the surface already may leave it.
        if lowest < min(-_SURFACE_TOLERANCE, self._kinematics.clearance(self.arm) - 1e-6):
            raise UnreachableError(
                f"pose {goal}: the arm would be {1000 * -lowest:.0f} mm below the surface of the "
                "table on its way there"
            )


def _first_possible(
    plan: Callable[[_Planner, ToolPose, ToolPose], None],
    kinematics: ArmKinematics,
    start: Mapping[str, float],
    poses: Mapping[str, ToolPose],
    settings: MotionSettings | None,
) -> JointPath:
    """Return the path that `plan` makes with the first turn of the tool that is possible."""
    for name, pose in poses.items():
        with _named(name):
            _check_bounds(kinematics, pose)
    first, second = poses.values()
    failure: UnreachableError | None = None
    for yaw in _yaws(kinematics, poses):
        planner = _Planner(kinematics, start, settings or MotionSettings())
        try:
            plan(planner, _turned(first, yaw), _turned(second, yaw))
        except UnreachableError as error:
            failure = failure or error
        else:
            return planner.path.build()
    assert failure is not None
    raise failure


def _check_bounds(kinematics: ArmKinematics, pose: ToolPose) -> None:
    table = kinematics.table
    bounds = {"x": table.x, "y": table.y, "z": (0.0, table.approach)}
    for (axis, (low, high)), value in zip(bounds.items(), pose.position, strict=True):
        if not low <= value <= high:
            raise UnreachableError(
                f"pose {pose}: {axis} is outside [{low:g}, {high:g}], the bounds of the table"
            )


def _yaws(kinematics: ArmKinematics, poses: Mapping[str, ToolPose]) -> Sequence[float]:
    """Return the turns of the tool about its axis to try, rad; only 0 if it may not be turned."""
    if not kinematics.table.symmetric:
        return (0.0,)
    # The mean of the turns that suit the arm best at each pose.
    suits = 0.0 + 0.0j
    for name, pose in poses.items():
        with _named(name):
            natural = kinematics.pose(kinematics.solve(pose, any_yaw=True))
        _, _, z, w = (_rotation(pose).inv() * _rotation(natural)).as_quat()
        suits += cmath.exp(2j * math.atan2(z, w))
    middle = cmath.phase(suits) if abs(suits) > 1e-3 else 0.0
    return tuple(middle + yaw for yaw in _YAWS)


def _turned(pose: ToolPose, yaw: float) -> ToolPose:
    """Return the pose of a tool that is turned about its axis."""
    rotation = _rotation(pose) * Rotation.from_euler("z", yaw)
    return _pose(pose.position, rotation)


def _between(begin: ToolPose, end: ToolPose) -> list[ToolPose]:
    """Return way points on the straight line to `end`, `end` included."""
    positions = np.array([begin.position, end.position])
    rotations = Rotation.from_quat([begin.rotation, end.rotation])
    turn = (rotations[0].inv() * rotations[1]).magnitude()
    length = float(np.linalg.norm(positions[1] - positions[0]))
    count = max(3, math.ceil(length / _STEP), math.ceil(turn / _TURN))
    share = np.arange(1, count + 1) / count
    turned = Slerp([0.0, 1.0], rotations)(share)
    way = positions[0] + share[:, None] * (positions[1] - positions[0])
    return [*(_pose(p, r) for p, r in zip(way[:-1], turned[:-1], strict=True)), end]


def _rotation(pose: ToolPose) -> Rotation:
    return Rotation.from_quat(pose.rotation)


def _pose(position: ArrayLike, rotation: Rotation) -> ToolPose:
    x, y, z = np.asarray(position, dtype=np.float64).tolist()
    qx, qy, qz, qw = rotation.as_quat().tolist()
    return ToolPose((x, y, z), (qx, qy, qz, qw))


@contextmanager
def _named(name: str) -> Iterator[None]:
    """Put the name of a way point before the message of an error."""
    try:
        yield
    except UnreachableError as error:
        raise UnreachableError(f"{name}: {error}") from error
