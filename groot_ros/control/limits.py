# SPDX-License-Identifier: Apache-2.0
"""Position, velocity and acceleration limits, and motion that always keeps them.

A state is viable when braking at the acceleration limit keeps the joint within its position
limits. Every step computed here leads from a viable state to a viable state, so at any time there
is a braking tail that keeps all limits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from groot_ros.control.curve import Array, cubic, end_accelerations
from groot_ros.control.jerk_limits import JointBounds
from groot_ros.robot import Joint

Mask = NDArray[np.bool_]

#: s: grid of the braking knots. A viable state can still stop when it brakes this much later.
BRAKING_GRID = 1e-5
#: Relative tolerance for rounding, so that motion exactly on a limit passes.
_ROUNDING = 1e-9
#: Share of the acceleration limit used to close a tracking error; the rest follows the
#: reference's own acceleration.
_TRACKING_SHARE = 0.5


@dataclass(frozen=True)
class Limits:
    """Limits of N joints, each float64 [N], in rad or m and s.

    The methods take states [..., N] and durations in s that broadcast.

    Attributes:
        lower, upper: position limits.
        velocity, acceleration: largest magnitudes.
        jerk: largest magnitude, infinite for a joint without a jerk limit; None if no joint has
            one. Only `jerk_bounds` uses it.

    """

    lower: Array
    upper: Array
    velocity: Array
    acceleration: Array
    jerk: Array | None = None

    @classmethod
    def of(cls, joints: Sequence[Joint]) -> Limits:
        """Return the limits that the robot contract states for these joints."""
        bounds = [j.limits for j in joints]
        jerk = np.array([b.jerk for b in bounds])
        return cls(
            np.array([b.lower for b in bounds]),
            np.array([b.upper for b in bounds]),
            np.array([b.velocity for b in bounds]),
            np.array([b.acceleration for b in bounds]),
            jerk if np.isfinite(jerk).any() else None,
        )

    def jerk_bounds(self) -> dict[int, JointBounds]:
        """Return the bounds of the joints that have a jerk limit, by index."""
        if self.jerk is None:
            return {}
        columns = (self.lower, self.upper, self.velocity, self.acceleration, self.jerk)
        return {
            int(i): JointBounds(*(float(column[i]) for column in columns))
            for i in np.flatnonzero(np.isfinite(self.jerk))
        }

    def scaled(self, scale: float, position: Array, velocity: Array) -> Limits:
        """Return the limits with velocity and acceleration multiplied by `scale` (at most 1).

        A joint that could not stop in time from this state with the lower acceleration keeps the
        full one.
        """
        lower = replace(
            self, velocity=self.velocity * scale, acceleration=self.acceleration * scale
        )
        usable = np.where(lower.can_stop(position, velocity), lower.acceleration, self.acceleration)
        return replace(lower, acceleration=usable)

    def can_stop(self, position: Array, velocity: Array) -> Mask:
        """Return which joints can still stop within their position limits."""
        stop = position + velocity * (np.abs(velocity) / (2.0 * self.acceleration) + BRAKING_GRID)
        tolerance = _ROUNDING * (self.upper - self.lower)
        return (np.maximum(position, stop) <= self.upper + tolerance) & (
            np.minimum(position, stop) >= self.lower - tolerance
        )

    def viable(self, position: Array, velocity: Array) -> Mask:
        """Return which joints can stop within their position limits and keep the velocity limit."""
        slow_enough = np.abs(velocity) <= self.velocity * (1.0 + _ROUNDING)
        return slow_enough & self.can_stop(position, velocity)

    def allows(self, p0: Array, v0: Array, p1: Array, v1: Array, h: Array | float) -> Mask:
        """Return which joints keep all limits on the cubic from (p0, v0) to (p1, v1) in h s.

        The check is exact: acceleration is linear, velocity quadratic and position cubic in time,
        and all states inside are viable if the last one is and the limits are kept on the way.
        """
        a0, a1 = end_accelerations(p0, v0, p1, v1, h)
        allowed = (
            np.maximum(np.abs(a0), np.abs(a1)) <= self.acceleration * (1.0 + _ROUNDING)
        ) & self.viable(p1, v1)
        if not allowed.any():
            return allowed
        # Bezier control points enclose the curve; where one exceeds a limit, check the extrema.
        b1, b2 = p0 + h * v0 / 3.0, p1 - h * v1 / 3.0
        enclosed = (
            (np.abs(3.0 * (b2 - b1) / h) <= self.velocity)
            & (np.maximum(b1, b2) <= self.upper)
            & (np.minimum(b1, b2) >= self.lower)
        )
        if not (enclosed | ~allowed).all():
            enclosed |= self._extrema_allowed(p0, v0, p1, v1, h, a0, a1)
        return allowed & enclosed

    def _extrema_allowed(
        self,
        p0: Array,
        v0: Array,
        p1: Array,
        v1: Array,
        h: Array | float,
        a0: Array,
        a1: Array,
    ) -> Mask:
        """Check the limits at the extrema of velocity and position."""
        curvature, slope = h * (a1 - a0) / 2.0, h * a0
        with np.errstate(divide="ignore", invalid="ignore"):
            root = np.sqrt(np.maximum(slope**2 - 4.0 * curvature * v0, 0.0))
            q = -(slope + np.where(slope < 0.0, -root, root)) / 2.0
            extrema = (-slope / (2.0 * curvature), q / curvature, v0 / q)
        allowed = np.ones(np.broadcast(p0, a0).shape, dtype=bool)
        tolerance = _ROUNDING * (self.upper - self.lower)
        for extremum in extrema:
            tau = np.clip(np.nan_to_num(extremum, nan=0.0), 0.0, 1.0)
            position, velocity = cubic(p0, v0, p1, v1, h, tau)
            allowed &= np.abs(velocity) <= self.velocity * (1.0 + _ROUNDING)
            allowed &= (position <= self.upper + tolerance) & (position >= self.lower - tolerance)
        return allowed

    def step(
        self, p: Array, v: Array, target_p: Array, target_v: Array, h: Array | float
    ) -> tuple[Array, Array]:
        """Return the state after h s of constant acceleration towards the target.

        The error is closed by the time-optimal law with half of the acceleration limit, made
        dead-beat within two steps near the target so that it settles without oscillation.

        Args:
            p: present position; (p, v) must be viable.
            v: present velocity.
            target_p: position of the reference after h.
            target_v: velocity of the reference after h.
            h: duration of the step, s.

        """
        closing = _TRACKING_SHARE * self.acceleration
        gap = target_p - p - (v + target_v) * h / 2.0
        approach = closing * (np.sqrt(h * h + 2.0 * np.abs(gap) / closing) - h)
        desired = target_v + np.copysign(approach, gap)
        change = self.acceleration * h
        distance = np.stack([self.upper - p, p - self.lower])
        up, down = np.minimum(self.velocity, self._max_velocity(distance, np.stack([v, -v]), h))
        after = np.minimum(np.maximum(desired, -down), up)
        after = np.minimum(np.maximum(after, v - change), v + change)
        return p + (v + after) * h / 2.0, after

    def _max_velocity(self, distance: Array, v: Array, h: Array | float) -> Array:
        """Return the highest velocity after h from which the joint still stops at its limit.

        `distance` is the distance to that position limit and `v` the velocity towards it. With
        constant acceleration the step covers (v + w) h / 2, and braking from w another w^2 / 2A;
        w h / 2 more lets the braking end on a step. A joint that must stop inside this step turns
        back at the limit: its acceleration is -v^2 / (2 distance).
        """
        left = distance - v * h / 2.0
        late = h + BRAKING_GRID
        stops = np.sqrt(late * late + 2.0 * np.maximum(left, 0.0) / self.acceleration) - late
        if (left >= 0.0).all():
            return self.acceleration * stops
        turning = v - v * v * h / (2.0 * np.maximum(distance, 1e-12))
        return np.where(left >= 0.0, self.acceleration * stops, turning)

    def clip_reference(self, p: Array, v: Array) -> tuple[Array, Array]:
        """Clip a reference to the position limits; where that changes it, its velocity is 0."""
        inside = np.clip(p, self.lower, self.upper)
        return inside, np.where(inside == p, v, 0.0)


def limited_tracking(
    limits: Limits, p: Array, v: Array, h: Array, reference_p: Array, reference_v: Array
) -> tuple[Array, Array, Mask]:
    """Return the reference where limits allow it, else the motion that closes in on it.

    A reference within limits is returned unchanged, to the bit.

    Args:
        limits: of the N joints.
        p: position to start from, [..., N]; (p, v) must be viable.
        v: velocity to start from, [..., N].
        h: durations [K] of the segments, the first from the start to the first knot, s. They
            should be at most velocity / acceleration: a joint that turns back at a position limit
            must not exceed its velocity limit within one segment.
        reference_p: positions of the reference, [K, ..., N].
        reference_v: velocities of the reference, [K, ..., N].

    Returns:
        Positions and velocities [K, ..., N], and which joints were limited, [..., N].

    """
    spans = h.reshape(-1, *([1] * p.ndim))
    starts_p = np.concatenate([p[None], reference_p[:-1]])
    starts_v = np.concatenate([v[None], reference_v[:-1]])
    allowed = limits.allows(starts_p, starts_v, reference_p, reference_v, spans)
    limited: Mask = ~np.all(allowed, axis=0)
    if not limited.any():
        return reference_p, reference_v, limited
    target_p, target_v = limits.clip_reference(reference_p, reference_v)
    out_p, out_v = reference_p.copy(), reference_v.copy()
    first = int(np.argmin(allowed.reshape(len(allowed), -1).all(axis=1)))
    p, v = starts_p[first], starts_v[first]
    on_reference = np.ones(p.shape, dtype=bool)
    for k in range(first, len(reference_p)):
        bounded_p, bounded_v = limits.step(p, v, target_p[k], target_v[k], h[k])
        free = on_reference & allowed[k]
        # Both ends of a step within limits lie at most this far apart.
        near = ~free & (np.abs(target_p[k] - bounded_p) <= limits.acceleration * h[k] ** 2)
        if near.any():
            free |= near & limits.allows(p, v, target_p[k], target_v[k], h[k])
        p = np.where(free, target_p[k], bounded_p)
        v = np.where(free, target_v[k], bounded_v)
        out_p[k], out_v[k] = p, v
        on_reference = free & (target_p[k] == reference_p[k])
        if on_reference.all() and allowed[k + 1 :].all():
            break
    return out_p, out_v, limited
