# SPDX-License-Identifier: Apache-2.0
"""Joint trajectories in absolute time: knots with positions and velocities, cubic in between."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from groot_ros.core import NS_PER_S
from groot_ros.robot.controller import Interpolation

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Curve:
    """C1 trajectory of N joints, as joint_trajectory_controller interpolates it.

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
        """Return position and velocity [N] at one time."""
        # The same as sample(), to the bit, at a third of the time.
        times, p, v = self.times, self.positions, self.velocities
        right = min(max(int(times.searchsorted(t_ns, "right")), 1), len(times) - 1)
        start_ns, end_ns = int(times[right - 1]), int(times[right])
        h = (end_ns - start_ns) / NS_PER_S
        inside_ns = min(max(t_ns, start_ns), end_ns)
        tau = (inside_ns - start_ns) / NS_PER_S / h
        position, velocity = cubic(p[right - 1], v[right - 1], p[right], v[right], h, tau)
        if inside_ns != t_ns:
            velocity[:] = 0.0
        return position, velocity

    def sample(self, t_ns: Sequence[int] | NDArray[np.int64]) -> tuple[Array, Array]:
        """Return positions and velocities [T, N].

        Before the first and after the last knot, the position of that knot is held.
        """
        t = np.asarray(t_ns, dtype=np.int64)
        right = np.clip(self.times.searchsorted(t, "right"), 1, len(self.times) - 1)
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

    def positions_at(self, t_ns: NDArray[np.int64]) -> Array:
        """Return the position [N] of each joint at its own time, [N] ns."""
        first_ns = int(t_ns[0])
        if (t_ns == first_ns).all():
            return self.at(first_ns)[0]
        return np.diagonal(self.sample(t_ns)[0])

    def acceleration_at(self, t_ns: int) -> Array:
        """Return the acceleration [N] at one time; 0 outside the knots.

        At a knot this is the acceleration of the segment that ends there.
        """
        if not self.start_ns < t_ns <= self.end_ns:
            return np.zeros(self.positions.shape[1])
        k = int(np.searchsorted(self.times, t_ns))
        h = int(self.times[k] - self.times[k - 1])
        p, v = self.positions, self.velocities
        a0, a1 = end_accelerations(p[k - 1], v[k - 1], p[k], v[k], h / NS_PER_S)
        return a0 + (a1 - a0) * ((t_ns - int(self.times[k - 1])) / h)

    def rms_acceleration(self) -> Array:
        """Return the root mean square of the accelerations at the segment ends, [N].

        The curve needs at least two knots.
        """
        h = (np.diff(self.times) / NS_PER_S)[:, None]
        p, v = self.positions, self.velocities
        ends = np.array(end_accelerations(p[:-1], v[:-1], p[1:], v[1:], h))
        return np.sqrt((ends**2).mean(axis=(0, 1)))

    def until(self, t_ns: int) -> Curve:
        """Return the curve cut at t_ns (> start), or held until t_ns if it ends earlier.

        The last knot lies at t_ns.
        """
        keep = int(np.searchsorted(self.times, t_ns, side="left"))
        if keep < len(self.times) and self.times[keep] == t_ns:
            return self._rows(slice(keep + 1))
        return self._rows(slice(keep)).followed_by(*self._knot(t_ns))

    def since(self, t_ns: int) -> Curve:
        """Return the part of the curve from max(t_ns, start) on; t_ns must be before the end."""
        if t_ns <= self.start_ns:
            return self
        keep = int(np.searchsorted(self.times, t_ns, side="right"))
        later = self._rows(slice(keep, None))
        return Curve(*self._knot(t_ns)).followed_by(later.times, later.positions, later.velocities)

    def followed_by(self, times: NDArray[np.int64], positions: Array, velocities: Array) -> Curve:
        """Return the curve with later knots appended."""
        return Curve(
            np.concatenate([self.times, times]),
            np.concatenate([self.positions, positions]),
            np.concatenate([self.velocities, velocities]),
        )

    def columns(self, joints: Sequence[int]) -> Curve:
        """Return the curve of the joints with these indices, in this order."""
        index = list(joints)
        return Curve(self.times, self.positions[:, index], self.velocities[:, index])

    @staticmethod
    def stack_joints(curves: Sequence[Curve]) -> Curve:
        """Return one curve with the joints of several curves, which must span the same time.

        It has the knots of all of them.
        """
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


def cubic(
    p0: Array, v0: Array, p1: Array, v1: Array, h: Array | float, tau: Array | float
) -> tuple[Array, Array]:
    """Evaluate a cubic Hermite segment: position and velocity at the fraction tau in [0, 1].

    The segment leads from (p0, v0) to (p1, v1) in h s; arrays broadcast. This is what
    joint_trajectory_controller computes between two points with positions and velocities.
    """
    rest = 1.0 - tau
    slope = (p1 - p0) / h
    position = (
        p0 + (p1 - p0) * (tau * tau) * (3.0 - 2.0 * tau) + h * tau * rest * (v0 * rest - v1 * tau)
    )
    velocity = (
        6.0 * slope * tau * rest + v0 * rest * (1.0 - 3.0 * tau) + v1 * tau * (3.0 * tau - 2.0)
    )
    return position, velocity


def end_accelerations(
    p0: Array, v0: Array, p1: Array, v1: Array, h: Array | float
) -> tuple[Array, Array]:
    """Return the acceleration at both ends of a cubic segment; it is linear in between."""
    slope = 3.0 * (p1 - p0) / h
    return 2.0 * (slope - 2.0 * v0 - v1) / h, 2.0 * (v0 + 2.0 * v1 - slope) / h


def quintic(
    p0: Array, v0: Array, a0: Array, p1: Array, v1: Array, a1: Array, h: Array | float, tau: Array
) -> tuple[Array, Array]:
    """Evaluate a quintic Hermite segment (C2): position and velocity at the fraction tau."""
    step = p1 - p0 - h * v0 - h * h * a0 / 2.0
    speed = h * (v1 - v0) - h * h * a0
    bend = h * h * (a1 - a0)
    c3 = 10.0 * step - 4.0 * speed + bend / 2.0
    c4 = -15.0 * step + 7.0 * speed - bend
    c5 = 6.0 * step - 3.0 * speed + bend / 2.0
    position = p0 + tau * (h * v0 + tau * (h * h * a0 / 2.0 + tau * (c3 + tau * (c4 + tau * c5))))
    velocity = v0 + tau * (h * a0 + tau / h * (3.0 * c3 + tau * (4.0 * c4 + tau * 5.0 * c5)))
    return position, velocity


def knot_velocities(positions: Array, dt: float) -> Array:
    """Estimate the velocities [H, N] at evenly spaced knots [H, N] by finite differences.

    Second order: central inside and three-point one-sided at the ends, exact for parabolas. A
    single knot gets velocity 0.
    """
    if len(positions) == 1:
        return np.zeros_like(positions)
    return np.gradient(positions, dt, axis=0, edge_order=2 if len(positions) > 2 else 1)


def knot_accelerations(positions: Array, dt: float) -> Array:
    """Estimate the accelerations [H, N] at evenly spaced knots by second differences.

    The first and last knot repeat their neighbour's value.
    """
    if len(positions) < 3:
        return np.zeros_like(positions)
    inside = (positions[2:] - 2.0 * positions[1:-1] + positions[:-2]) / dt**2
    return np.concatenate([inside[:1], inside, inside[-1:]])


def refine(
    positions: Array, dt: float, parts: int, methods: Sequence[Interpolation]
) -> tuple[Array, Array]:
    """Interpolate the steps of a chunk to `parts` knots per step, each joint by its own method.

    Args:
        positions: [H, N] at the chunk's steps, which are knots of the result.
        dt: time between the steps, s.
        parts: number of segments that each step is divided into.
        methods: linear, cubic or quintic for each joint. At the corners of linear motion the
            velocity is the mean of both slopes, so that every result is a C1 curve of cubic
            segments.

    Returns:
        Positions and velocities, both [(H - 1) * parts + 1, N].

    """
    rows, joints = positions.shape
    if rows == 1:
        return positions.copy(), np.zeros_like(positions)
    velocities = knot_velocities(positions, dt)
    p0, p1 = positions[:-1, None], positions[1:, None]
    v0, v1 = velocities[:-1, None], velocities[1:, None]
    tau = (np.arange(parts) / parts)[None, :, None]
    fine_p, fine_v = np.empty((2, rows - 1, parts, joints))
    for method in set(methods):
        of = np.array([m == method for m in methods])
        if method == "linear":
            slope = (p1 - p0)[..., of] / dt
            fine_p[..., of] = p0[..., of] + slope * tau * dt
            fine_v[..., of] = slope
            fine_v[1:, 0, of] = (slope[1:, 0] + slope[:-1, 0]) / 2.0
        elif method == "cubic":
            ends = (p0[..., of], v0[..., of], p1[..., of], v1[..., of])
            fine_p[..., of], fine_v[..., of] = cubic(*ends, dt, tau)
        else:
            accelerations = knot_accelerations(positions, dt)
            fine_p[..., of], fine_v[..., of] = quintic(
                p0[..., of],
                v0[..., of],
                accelerations[:-1, None, of],
                p1[..., of],
                v1[..., of],
                accelerations[1:, None, of],
                dt,
                tau,
            )
    last_v = np.where(
        [m == "linear" for m in methods], (positions[-1] - positions[-2]) / dt, velocities[-1]
    )
    return (
        np.concatenate([fine_p.reshape(-1, joints), positions[-1:]]),
        np.concatenate([fine_v.reshape(-1, joints), last_v[None]]),
    )
