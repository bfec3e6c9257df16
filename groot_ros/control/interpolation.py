"""Between knots: Hermite polynomials, and the velocities that positions alone imply."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from groot_ros.robot.controller import Interpolation

Array = NDArray[np.float64]


def cubic(
    p0: Array, v0: Array, p1: Array, v1: Array, h: Array | float, tau: Array
) -> tuple[Array, Array]:
    """Position and velocity of the cubic Hermite segment at the fraction tau in [0, 1].

    Arrays broadcast; h is the segment's length in s. This is what joint_trajectory_controller
    computes between two knots that carry positions and velocities.
    """
    rest = 1.0 - tau
    slope = (p1 - p0) / h
    position = p0 + (p1 - p0) * tau**2 * (3.0 - 2.0 * tau) + h * tau * rest * (v0 * rest - v1 * tau)
    velocity = (
        6.0 * slope * tau * rest + v0 * rest * (1.0 - 3.0 * tau) + v1 * tau * (3.0 * tau - 2.0)
    )
    return position, velocity


def end_accelerations(
    p0: Array, v0: Array, p1: Array, v1: Array, h: Array | float
) -> tuple[Array, Array]:
    """Acceleration of the cubic segment at its two ends; it is linear in between."""
    slope = 3.0 * (p1 - p0) / h
    return 2.0 * (slope - 2.0 * v0 - v1) / h, 2.0 * (v0 + 2.0 * v1 - slope) / h


def quintic(
    p0: Array, v0: Array, a0: Array, p1: Array, v1: Array, a1: Array, h: Array | float, tau: Array
) -> tuple[Array, Array]:
    """Position and velocity of the quintic Hermite segment (C2) at the fraction tau."""
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
    """Velocities [H, N] of evenly spaced knots [H, N]: second-order finite differences.

    Central inside, three-point one-sided at the ends, exact for parabolas; a single knot rests.
    """
    if len(positions) == 1:
        return np.zeros_like(positions)
    return np.gradient(positions, dt, axis=0, edge_order=2 if len(positions) > 2 else 1)


def knot_accelerations(positions: Array, dt: float) -> Array:
    """Accelerations [H, N] of evenly spaced knots: second differences, the ends repeated."""
    if len(positions) < 3:
        return np.zeros_like(positions)
    inside = (positions[2:] - 2.0 * positions[1:-1] + positions[:-2]) / dt**2
    return np.concatenate([inside[:1], inside, inside[-1:]])


def refine(
    positions: Array, dt: float, parts: int, methods: Sequence[Interpolation]
) -> tuple[Array, Array]:
    """Positions and velocities at `parts` knots per step, each joint by its own method.

    Args:
        positions: [H, N] at the chunk's own steps; they are knots of the result.
        dt: s between them.
        parts: how many segments each step becomes.
        methods: one of linear, cubic, quintic per joint. The corners of linear motion get the
            mean of both slopes, so that every result is a C1 curve of cubic segments.

    Returns:
        positions and velocities, both [(H - 1) * parts + 1, N].

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
            bend = knot_accelerations(positions, dt)
            fine_p[..., of], fine_v[..., of] = quintic(
                p0[..., of],
                v0[..., of],
                bend[:-1, None, of],
                p1[..., of],
                v1[..., of],
                bend[1:, None, of],
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
