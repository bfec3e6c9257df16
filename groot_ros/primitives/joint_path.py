# SPDX-License-Identifier: Apache-2.0
"""Joint positions over time, and the timing that keeps the limits of the joints."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.polynomial import Polynomial
from numpy.typing import ArrayLike, NDArray
from scipy.interpolate import make_interp_spline

from groot_ros.robot import Joint

Array = NDArray[np.float64]

#: Time between the rows of a path, s. A line between two rows is less than 0.2 mrad from the curve
#: at 15 rad/s^2.
ROW_SPACING = 0.01
#: Largest speed on the way from 0 to 1 in 1 s, with the least jerk.
PEAK_SPEED = 1.875
#: This way: 10 u^3 - 15 u^4 + 6 u^5.
_SHARE = Polynomial([0.0, 0.0, 0.0, 10.0, -15.0, 6.0])
#: Motion that is none, rad or m.
_STANDSTILL = 1e-9


@dataclass(frozen=True)
class JointPath:
    """Positions of some joints over time; it begins and ends at rest.

    Attributes:
        joints: names of the N joints.
        times: [K], s from the start of the path, ascending from 0.
        positions: [K, N], rad or m; linear in between.
        marks: name of a moment, such as "pick" -> its time, s.

    """

    joints: tuple[str, ...]
    times: Array
    positions: Array
    marks: Mapping[str, float] = field(default_factory=dict)

    @property
    def duration(self) -> float:
        """Return the time of the last row, s."""
        return float(self.times[-1])

    def sample(self, t0: float, dt: float, steps: int) -> Array:
        """Return the positions at t0, t0 + dt, ..., [steps, N].

        Before the start and after the end, the first and last positions are held.
        """
        t = t0 + dt * np.arange(steps)
        return np.stack([np.interp(t, self.times, column) for column in self.positions.T], axis=1)


class PathBuilder:
    """Builds a path of segments that begin and end at rest.

    Arrays are [..., N] in the order of the joints given.
    """

    def __init__(
        self, joints: Sequence[Joint], start: ArrayLike, speed: float, acceleration: float
    ) -> None:
        """Begin a path.

        Args:
            joints: the N joints.
            start: positions [N] of the first row.
            speed: share of the velocity limits that is used.
            acceleration: share of the acceleration limits that is used.

        """
        self._names = tuple(joint.name for joint in joints)
        self._velocity = speed * np.array([joint.limits.velocity for joint in joints])
        self._acceleration = acceleration * np.array([j.limits.acceleration for j in joints])
        self._times = [0.0]
        self._rows = [np.array(start, dtype=np.float64)]
        self._marks: dict[str, float] = {}

    @property
    def end(self) -> Array:
        """Return the positions [N] at the end of the path so far."""
        return self._rows[-1].copy()

    def mark(self, name: str) -> None:
        """Give the present end of the path a name."""
        self._marks[name] = self._times[-1]

    def wait(self, seconds: float) -> None:
        """Stay where the path ends so far."""
        if seconds <= 0.0:
            return
        self._times.append(self._times[-1] + seconds)
        self._rows.append(self.end)

    def move(self, through: ArrayLike, shortest: float = 0.0) -> None:
        """Move from the end of the path to the last of these positions, at rest there.

        The way is a smooth curve through all of them; the timing has the least jerk.

        Args:
            through: [M, N], evenly spaced way points; one is a straight line in joint space.
            shortest: least duration, s.

        """
        points = np.concatenate([self._rows[-1][None], np.asarray(through, dtype=np.float64)])
        if np.ptp(points, axis=0).max() < _STANDSTILL:
            self.wait(shortest)
            return
        knots = np.linspace(0.0, 1.0, len(points))
        way = make_interp_spline(knots, points, k=min(3, len(points) - 1))
        # From s = 0 at u = 0 to s = 1 at u = 1, with two derivatives.
        u = np.linspace(0.0, 1.0, 4 * len(points) + 21)
        s, ds, dds = _SHARE(u), _SHARE.deriv()(u), _SHARE.deriv(2)(u)
        slope, bend = way(s, 1), (way(s, 2) if len(points) > 2 else 0.0)
        velocity = slope * ds[:, None]
        acceleration = slope * dds[:, None] + bend * ds[:, None] ** 2
        duration = max(
            shortest,
            float((np.abs(velocity) / self._velocity).max()),
            float(np.sqrt((np.abs(acceleration) / self._acceleration).max())),
        )
        count = max(2, math.ceil(duration / ROW_SPACING))
        u = np.arange(1, count + 1) / count
        self._times += (self._times[-1] + duration * u).tolist()
        rows = np.concatenate([way(_SHARE(u[:-1])), points[-1:]])
        # Joints that stay are not moved by rounding.
        self._rows += list(np.where(np.ptp(points, axis=0) > 0.0, rows, points[0]))

    def build(self) -> JointPath:
        """Return the path."""
        return JointPath(self._names, np.array(self._times), np.array(self._rows), self._marks)
