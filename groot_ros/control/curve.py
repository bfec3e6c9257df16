"""Motion by absolute time: knots with positions and velocities, cubic in between."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from groot_ros.control.interpolation import Array, cubic, end_accelerations
from groot_ros.core import NS_PER_S


@dataclass(frozen=True)
class Curve:
    """A C1 curve of all joints.

    Attributes:
        times: int64 [K], ns, strictly increasing.
        positions: float64 [K, N], rad or m.
        velocities: float64 [K, N], rad/s or m/s.

    """

    times: NDArray[np.int64]
    positions: Array
    velocities: Array

    @property
    def start_ns(self) -> int:
        """Time of the first knot."""
        return int(self.times[0])

    @property
    def end_ns(self) -> int:
        """Time of the last knot."""
        return int(self.times[-1])

    def at(self, t_ns: int) -> tuple[Array, Array]:
        """Position and velocity [N] at one instant."""
        position, velocity = self.sample(np.array([t_ns], dtype=np.int64))
        return position[0], velocity[0]

    def sample(self, t_ns: Sequence[int] | NDArray[np.int64]) -> tuple[Array, Array]:
        """Positions and velocities [T, N]; outside the knots the curve stands at its end."""
        t = np.asarray(t_ns, dtype=np.int64)
        right = np.clip(np.searchsorted(self.times, t, side="right"), 1, len(self.times) - 1)
        left = right - 1
        inside = np.clip(t, self.times[0], self.times[-1])
        h = (self.times[right] - self.times[left])[:, None] / NS_PER_S
        tau = (inside - self.times[left])[:, None] / NS_PER_S / h
        position, velocity = cubic(
            self.positions[left],
            self.velocities[left],
            self.positions[right],
            self.velocities[right],
            h,
            tau,
        )
        velocity[inside != t] = 0.0
        return position, velocity

    def acceleration_at(self, t_ns: int) -> Array:
        """Acceleration [N] at one instant, of the segment that ends there; 0 outside the knots."""
        if not self.start_ns < t_ns <= self.end_ns:
            return np.zeros(self.positions.shape[1])
        k = int(np.searchsorted(self.times, t_ns))
        h = int(self.times[k] - self.times[k - 1])
        p, v = self.positions, self.velocities
        a0, a1 = end_accelerations(p[k - 1], v[k - 1], p[k], v[k], h / NS_PER_S)
        return a0 + (a1 - a0) * ((t_ns - int(self.times[k - 1])) / h)

    def sharpness(self) -> Array:
        """Root mean square of the knots' accelerations, [N] rad/s^2 or m/s^2; of two or more."""
        h = (np.diff(self.times) / NS_PER_S)[:, None]
        p, v = self.positions, self.velocities
        ends = np.array(end_accelerations(p[:-1], v[:-1], p[1:], v[1:], h))
        return np.sqrt((ends**2).mean(axis=(0, 1)))

    def until(self, t_ns: int) -> Curve:
        """The same curve ending with a knot at t_ns (> start); held beyond its own end."""
        keep = int(np.searchsorted(self.times, t_ns, side="left"))
        if keep < len(self.times) and self.times[keep] == t_ns:
            return self._rows(slice(keep + 1))
        return self._rows(slice(keep)).followed_by(*self._knot(t_ns))

    def since(self, t_ns: int) -> Curve:
        """The same curve beginning with a knot at max(t_ns, start); t_ns < end."""
        if t_ns <= self.start_ns:
            return self
        keep = int(np.searchsorted(self.times, t_ns, side="right"))
        later = self._rows(slice(keep, None))
        return Curve(*self._knot(t_ns)).followed_by(later.times, later.positions, later.velocities)

    def followed_by(self, times: NDArray[np.int64], positions: Array, velocities: Array) -> Curve:
        """The knots of this curve, then these later ones."""
        return Curve(
            np.concatenate([self.times, times]),
            np.concatenate([self.positions, positions]),
            np.concatenate([self.velocities, velocities]),
        )

    def columns(self, joints: Sequence[int]) -> Curve:
        """Only these joints, by index."""
        index = list(joints)
        return Curve(self.times, self.positions[:, index], self.velocities[:, index])

    @staticmethod
    def beside(curves: Sequence[Curve]) -> Curve:
        """Curves of the same span as one: all their knots, their joints in this order."""
        times = np.unique(np.concatenate([curve.times for curve in curves]))
        samples = [curve.sample(times) for curve in curves]
        return Curve(
            times,
            np.concatenate([p for p, _ in samples], axis=1),
            np.concatenate([v for _, v in samples], axis=1),
        )

    def _rows(self, rows: slice) -> Curve:
        return Curve(self.times[rows], self.positions[rows], self.velocities[rows])

    def _knot(self, t_ns: int) -> tuple[NDArray[np.int64], Array, Array]:
        position, velocity = self.at(t_ns)
        return np.array([t_ns], dtype=np.int64), position[None], velocity[None]
