# SPDX-License-Identifier: Apache-2.0
"""Trajectory messages as joint_trajectory_controller handles them: checks and sampling.

The rules are those of ros2_controllers, the same on Humble and Jazzy. The controller reports a
rejected message only in its log; its messages are kept word for word, because they are what one
searches for. What it accepts without a message, and should not, is accepted here too: a duplicate
joint name, NaN and infinity, a first point far from the robot.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from groot_ros.core import NS_PER_S

#: Largest speed that counts as rest at the end: the controller compares with a float's epsilon.
REST_SPEED = 1.1920929e-07


class TrajectoryRejected(ValueError):  # noqa: N818 - the message is at fault, not the program
    """The controller rejects this message; the running trajectory continues."""


@dataclass(frozen=True)
class TrajectoryPoint:
    """One point of a message; a field that the sender left out is empty. Positions in rad or m."""

    time_from_start_ns: int
    positions: Sequence[float] = ()
    velocities: Sequence[float] = ()
    accelerations: Sequence[float] = ()
    effort: Sequence[float] = ()


@dataclass(frozen=True)
class TrajectoryMessage:
    """One message, not yet checked; stamp 0 means that it starts when it is first sampled."""

    stamp_ns: int
    joint_names: Sequence[str]
    points: Sequence[TrajectoryPoint]


def check_trajectory(
    message: TrajectoryMessage,
    joints: Sequence[str],
    now_ns: int,
    *,
    allow_nonzero_velocity_at_end: bool,
) -> None:
    """Raise TrajectoryRejected if the controller of `joints` rejects the message at `now_ns`."""
    names = list(message.joint_names)
    if len(names) != len(joints):
        raise TrajectoryRejected("Joints on incoming trajectory don't match the controller joints.")
    if not message.points:
        raise TrajectoryRejected("Empty trajectory received.")
    last = message.points[-1]
    end_ns = message.stamp_ns + last.time_from_start_ns
    if message.stamp_ns != 0 and end_ns < now_ns:
        raise TrajectoryRejected(
            f"Received trajectory with non-zero start time ({message.stamp_ns / NS_PER_S:f}) "
            f"that ends in the past ({end_ns / NS_PER_S:f})"
        )
    for name in names:
        if name not in joints:
            raise TrajectoryRejected(
                f"Incoming joint {name} doesn't match the controller's joints."
            )
    if not allow_nonzero_velocity_at_end:
        _check_rest(names, last.velocities)
    _check_points(message, len(names))


def _check_rest(names: Sequence[str], velocities: Sequence[float]) -> None:
    for i, velocity in enumerate(velocities):
        if abs(velocity) > REST_SPEED:
            if i >= len(names):
                raise TrajectoryRejected(
                    f"{len(velocities)} velocities for {len(names)} joints in the last point: "
                    "the real controller_manager would abort here"
                )
            raise TrajectoryRejected(
                f"Velocity of last trajectory point of joint {names[i]} is not zero: "
                f"{velocity:.15f}"
            )


def _check_points(message: TrajectoryMessage, width: int) -> None:
    previous_ns = 0
    for i, point in enumerate(message.points):
        if i > 0 and point.time_from_start_ns <= previous_ns:
            raise TrajectoryRejected(
                f"Time between points {i - 1} and {i} is not strictly increasing, it is "
                f"{previous_ns / NS_PER_S:f} and {point.time_from_start_ns / NS_PER_S:f} "
                "respectively"
            )
        previous_ns = point.time_from_start_ns
        for field, values, may_be_empty in (
            ("positions", point.positions, False),
            ("velocities", point.velocities, True),
            ("accelerations", point.accelerations, True),
        ):
            if len(values) != width and not (may_be_empty and len(values) == 0):
                raise TrajectoryRejected(
                    f"Mismatch between joint_names size ({width}) and {field} ({len(values)}) "
                    f"at point #{i}."
                )
        if len(point.effort):
            raise TrajectoryRejected(
                "Trajectories with effort fields are only supported for controllers using the "
                "'effort' command interface."
            )


@dataclass(frozen=True)
class Knot:
    """Position [n], and velocity and acceleration [n] if given."""

    position: NDArray[np.float64]
    velocity: NDArray[np.float64] | None = None
    acceleration: NDArray[np.float64] | None = None


def interpolate(before: Knot, after: Knot, duration: float, t: float) -> Knot:
    """Return the state `t` s into a segment of `duration` s.

    The segment is linear, cubic if both ends have velocities, and quintic if both have
    accelerations too. Outside it the position of the nearer end is held.
    """
    cubic = before.velocity is not None and after.velocity is not None
    quintic = cubic and before.acceleration is not None and after.acceleration is not None
    if not 0.0 <= t <= duration:
        t, cubic, quintic = min(max(t, 0.0), duration), False, False
    rise = after.position - before.position
    zero = np.zeros_like(rise)
    if duration == 0.0:
        return Knot(before.position, zero, zero)
    s = t / duration
    # Coefficients of the powers of s in [0, 1], from the boundary values scaled by the duration.
    c = np.zeros((6, rise.size))
    c[0] = before.position
    if not cubic:
        c[1] = rise
    else:
        assert before.velocity is not None
        assert after.velocity is not None
        v0, v1 = before.velocity * duration, after.velocity * duration
        if not quintic:
            c[1], c[2], c[3] = v0, 3 * rise - 2 * v0 - v1, v0 + v1 - 2 * rise
        else:
            assert before.acceleration is not None
            assert after.acceleration is not None
            a0, a1 = before.acceleration * duration**2, after.acceleration * duration**2
            c[1], c[2] = v0, a0 / 2
            c[3] = 10 * rise - 6 * v0 - 4 * v1 - (3 * a0 - a1) / 2
            c[4] = -15 * rise + 8 * v0 + 7 * v1 + (3 * a0 - 2 * a1) / 2
            c[5] = 6 * rise - 3 * (v0 + v1) - (a0 - a1) / 2
    powers = s ** np.arange(6)
    slope = np.arange(1, 6) * powers[:5]
    bend = np.arange(2, 6) * np.arange(1, 5) * powers[:4]
    return Knot(powers @ c, slope @ c[1:] / duration, bend @ c[2:] / duration**2)


class SampledTrajectory:
    """Active trajectory: knots at absolute times, and the state before the first of them."""

    def __init__(
        self, stamp_ns: int, times_from_start_ns: Sequence[int], knots: Sequence[Knot]
    ) -> None:
        self._stamp_ns = stamp_ns
        self._offsets_ns = list(times_from_start_ns)
        self._knots = list(knots)
        self._before: Knot | None = None
        self._before_ns = 0

    @property
    def started(self) -> bool:
        """Return whether start() was called, so that the state before the first knot is known."""
        return self._before is not None

    def ends_after(self, time_ns: int) -> bool:
        """Return whether the last knot is later than this time."""
        return not self.started or self._stamp_ns + self._offsets_ns[-1] > time_ns

    def start(self, now_ns: int, before: Knot, before_ns: int) -> None:
        """Set the state before the first knot; a zero stamp becomes `now_ns`."""
        self._stamp_ns = self._stamp_ns or now_ns
        self._before, self._before_ns = before, before_ns

    def sample(self, time_ns: int) -> Knot:
        """Return the state at one instant; after the last knot, that knot."""
        assert self._before is not None, "call start() before sample()"
        times = [self._stamp_ns + offset for offset in self._offsets_ns]
        if time_ns < times[0]:
            return _between(self._before, self._knots[0], self._before_ns, times[0], time_ns)
        for i in range(len(times) - 1):
            if time_ns < times[i + 1]:
                first, second = self._knots[i], self._knots[i + 1]
                return _between(first, second, times[i], times[i + 1], time_ns)
        last = self._knots[-1]
        zero = np.zeros_like(last.position)
        return Knot(
            last.position,
            zero if last.velocity is None else last.velocity,
            zero if last.acceleration is None else last.acceleration,
        )


def _between(before: Knot, after: Knot, start_ns: int, end_ns: int, time_ns: int) -> Knot:
    duration = (end_ns - start_ns) / NS_PER_S
    return interpolate(before, after, duration, (time_ns - start_ns) / NS_PER_S)
