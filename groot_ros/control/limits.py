"""Position, velocity and acceleration bounds, and motion that never leaves them.

A state is viable when braking at the acceleration limit keeps it within the position limits.
From a viable state every step made here ends in a viable one, so a braking tail that respects
all limits exists at every instant.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from groot_ros.control.curve import Array, cubic, end_accelerations
from groot_ros.control.jerk import JointBounds
from groot_ros.robot import Joint

Mask = NDArray[np.bool_]

#: s: braking knots lie on a grid this fine, and a viable state has room for one such delay.
BRAKING_GRID = 1e-5
#: Relative slack for rounding, so that motion exactly on a limit passes.
_ROUNDING = 1e-9
#: Share of the acceleration limit spent on closing in; the rest follows the goal's own bends.
_CLOSING_SHARE = 0.5


@dataclass(frozen=True)
class Limits:
    """Bounds of N joints, each float64 [N]; states are [..., N], durations in s broadcast.

    Nothing here but `jerk_bounds` knows of jerk: it is None where no joint limits it, and infinite
    for a joint that does not.
    """

    lower: Array
    upper: Array
    velocity: Array
    acceleration: Array
    jerk: Array | None = None

    @classmethod
    def of(cls, joints: Sequence[Joint]) -> Limits:
        """The limits that the robot contract states."""
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
        """The joints that limit their jerk, by index."""
        if self.jerk is None:
            return {}
        columns = (self.lower, self.upper, self.velocity, self.acceleration, self.jerk)
        return {
            int(i): JointBounds(*(float(column[i]) for column in columns))
            for i in np.flatnonzero(np.isfinite(self.jerk))
        }

    def slowed(self, scale: float, position: Array, velocity: Array) -> Limits:
        """Lower velocities and accelerations, as far as this state can take them.

        A joint that could not stop in time with the lower acceleration keeps the full one.
        """
        slow = replace(self, velocity=self.velocity * scale, acceleration=self.acceleration * scale)
        gentle = np.where(slow.stoppable(position, velocity), slow.acceleration, self.acceleration)
        return replace(slow, acceleration=gentle)

    def stoppable(self, position: Array, velocity: Array) -> Mask:
        """Which joints can still stop within their position limits."""
        stop = position + velocity * (np.abs(velocity) / (2.0 * self.acceleration) + BRAKING_GRID)
        room = _ROUNDING * (self.upper - self.lower)
        return (np.maximum(position, stop) <= self.upper + room) & (
            np.minimum(position, stop) >= self.lower - room
        )

    def viable(self, position: Array, velocity: Array) -> Mask:
        """Which joints can still stop within their position limits, and are not too fast."""
        slow_enough = np.abs(velocity) <= self.velocity * (1.0 + _ROUNDING)
        return slow_enough & self.stoppable(position, velocity)

    def allow(self, p0: Array, v0: Array, p1: Array, v1: Array, h: Array | float) -> Mask:
        """Which joints may move along the cubic segment from (p0, v0) to (p1, v1) in h s.

        Exact: acceleration is linear, velocity quadratic and position cubic in time, and all
        states inside are viable when the last one is and no limit is broken on the way.
        """
        a0, a1 = end_accelerations(p0, v0, p1, v1, h)
        fine = (
            np.maximum(np.abs(a0), np.abs(a1)) <= self.acceleration * (1.0 + _ROUNDING)
        ) & self.viable(p1, v1)
        if not fine.any():
            return fine
        # Bezier control points enclose the curve; the extrema are needed where they stick out.
        b1, b2 = p0 + h * v0 / 3.0, p1 - h * v1 / 3.0
        enclosed = (
            (np.abs(3.0 * (b2 - b1) / h) <= self.velocity)
            & (np.maximum(b1, b2) <= self.upper)
            & (np.minimum(b1, b2) >= self.lower)
        )
        if not (enclosed | ~fine).all():
            enclosed |= self._extrema_allowed(p0, v0, p1, v1, h, a0, a1)
        return fine & enclosed

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
        """The same question answered at the turning points of velocity and position."""
        bend, slope = h * (a1 - a0) / 2.0, h * a0
        with np.errstate(divide="ignore", invalid="ignore"):
            root = np.sqrt(np.maximum(slope**2 - 4.0 * bend * v0, 0.0))
            q = -(slope + np.where(slope < 0.0, -root, root)) / 2.0
            turns = (-slope / (2.0 * bend), q / bend, v0 / q)
        allowed = np.ones(np.broadcast(p0, a0).shape, dtype=bool)
        room = _ROUNDING * (self.upper - self.lower)
        for turn in turns:
            tau = np.clip(np.nan_to_num(turn, nan=0.0), 0.0, 1.0)
            position, velocity = cubic(p0, v0, p1, v1, h, tau)
            allowed &= np.abs(velocity) <= self.velocity * (1.0 + _ROUNDING)
            allowed &= (position <= self.upper + room) & (position >= self.lower - room)
        return allowed

    def step(
        self, p: Array, v: Array, goal_p: Array, goal_v: Array, h: Array | float
    ) -> tuple[Array, Array]:
        """The state after h s of constant acceleration that best closes in on the goal.

        (p, v) is a viable state, (goal_p, goal_v) where the goal will be after h. Closing in
        follows the time-optimal law with a deceleration of half the limit, made dead-beat
        within two steps near the goal so that it settles without ringing.
        """
        closing = _CLOSING_SHARE * self.acceleration
        gap = goal_p - p - (v + goal_v) * h / 2.0
        approach = closing * (np.sqrt(h * h + 2.0 * np.abs(gap) / closing) - h)
        wanted = goal_v + np.copysign(approach, gap)
        change = self.acceleration * h
        room = np.stack([self.upper - p, p - self.lower])
        up, down = np.minimum(self.velocity, self._fastest(room, np.stack([v, -v]), h))
        after = np.minimum(np.maximum(wanted, -down), up)
        after = np.minimum(np.maximum(after, v - change), v + change)
        return p + (v + after) * h / 2.0, after

    def _fastest(self, room: Array, v: Array, h: Array | float) -> Array:
        """The highest velocity after h towards a position limit that can still be respected.

        `room` is the distance to that limit and `v` the velocity towards it. With constant
        acceleration the step covers (v + w) h / 2 and braking from w another w^2 / 2A; w h / 2
        more lets the braking end on a step. A joint that must stop inside this step turns back
        at the limit: acceleration -v^2 / 2 room.
        """
        left = room - v * h / 2.0
        late = h + BRAKING_GRID
        stops = np.sqrt(late * late + 2.0 * np.maximum(left, 0.0) / self.acceleration) - late
        if (left >= 0.0).all():
            return self.acceleration * stops
        turning = v - v * v * h / (2.0 * np.maximum(room, 1e-12))
        return np.where(left >= 0.0, self.acceleration * stops, turning)

    def reachable(self, p: Array, v: Array) -> tuple[Array, Array]:
        """A goal brought into the position limits; where that changed it, it stands still."""
        inside = np.clip(p, self.lower, self.upper)
        return inside, np.where(inside == p, v, 0.0)


def follow(
    limits: Limits, p: Array, v: Array, h: Array, goal_p: Array, goal_v: Array
) -> tuple[Array, Array, Mask]:
    """The goal's knots where limits allow them, else the motion that closes in on them.

    (p, v), both [..., N], is the viable state to start from; (goal_p, goal_v), [K, ..., N], are
    the goal's knots and h, [K], the seconds from each to the next, the first from the start.
    Returns positions and velocities [K, ..., N], and which joints limits changed, [..., N]. A
    goal within limits comes back as it is. Steps should be no longer than velocity /
    acceleration: a joint that turns back at a position limit must not be too fast after one.
    """
    spans = h.reshape(-1, *([1] * p.ndim))
    starts_p = np.concatenate([p[None], goal_p[:-1]])
    starts_v = np.concatenate([v[None], goal_v[:-1]])
    fine = limits.allow(starts_p, starts_v, goal_p, goal_v, spans)
    changed: Mask = ~np.all(fine, axis=0)
    if not changed.any():
        return goal_p, goal_v, changed
    wanted_p, wanted_v = limits.reachable(goal_p, goal_v)
    out_p, out_v = goal_p.copy(), goal_v.copy()
    first = int(np.argmin(fine.reshape(len(fine), -1).all(axis=1)))
    p, v = starts_p[first], starts_v[first]
    on_goal = np.ones(p.shape, dtype=bool)
    for k in range(first, len(goal_p)):
        bounded_p, bounded_v = limits.step(p, v, wanted_p[k], wanted_v[k], h[k])
        free = on_goal & fine[k]
        # Both ends of a step within limits lie at most this far apart.
        near = ~free & (np.abs(wanted_p[k] - bounded_p) <= limits.acceleration * h[k] ** 2)
        if near.any():
            free |= near & limits.allow(p, v, wanted_p[k], wanted_v[k], h[k])
        p = np.where(free, wanted_p[k], bounded_p)
        v = np.where(free, wanted_v[k], bounded_v)
        out_p[k], out_v[k] = p, v
        on_goal = free & (wanted_p[k] == goal_p[k])
        if on_goal.all() and fine[k + 1 :].all():
            break
    return out_p, out_v, changed
