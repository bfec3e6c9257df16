# SPDX-License-Identifier: Apache-2.0
"""Jerk-limited motion of single joints: stops, and tracking of a reference trajectory.

Only joints with a jerk limit need this. Their state is (p, v, a). A state is viable when the
quickest jerk-limited stop from it keeps every limit all the way.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from groot_ros.control.curve import Curve
from groot_ros.core import NS_PER_S

#: ns: the phases of a stop last whole multiples of this.
GRID_NS = 1_000_000
_GRID = GRID_NS / 1e9
#: Relative tolerance for rounding, so that motion exactly on a limit passes.
_ROUNDING = 1e-9
#: 1/s: bandwidth at which a small tracking error decays, unless jerk / acceleration is slower.
_BANDWIDTH = 60.0
#: Share of the limits used to close a tracking error; the rest follows the reference's own
#: acceleration.
_TRACKING_SHARE = 0.7
#: Bisections of the interval of jerks.
_BISECTIONS = 10

#: Position, velocity, acceleration: rad or m and s.
State = tuple[float, float, float]
#: Duration in s, and the constant jerk during it.
Phase = tuple[float, float]


@dataclass(frozen=True)
class JointBounds:
    """Limits of one joint, rad or m and s; all but `lower` and `upper` are magnitudes."""

    lower: float
    upper: float
    velocity: float
    acceleration: float
    jerk: float


class FailSafeTrajectory(Protocol):
    """Trajectory of one joint that ends at rest and is known to keep every limit.

    Attributes:
        end_ns: time from which it is at rest.

    """

    end_ns: int

    def at(self, t_ns: int) -> State:
        """Return the state at a time not before its start."""

    def jerk_changes(self, from_ns: int, to_ns: int) -> list[int]:
        """Return the times strictly between these two at which its jerk changes, ascending."""


class StopTrajectory:
    """Fail-safe trajectory made of constant-jerk phases from a state at a time."""

    def __init__(self, start_ns: int, state: State, phases: list[Phase]) -> None:
        self._knots = [(start_ns, state, 0.0)]
        for seconds, jerk in phases:
            t_ns, before, _ = self._knots[-1]
            self._knots[-1] = (t_ns, before, jerk)
            self._knots.append((t_ns + round(seconds * 1e9), advance(before, seconds, jerk), 0.0))
        self.end_ns = self._knots[-1][0]

    def at(self, t_ns: int) -> State:
        """Return the state at a time; exactly at rest from `end_ns` on."""
        if t_ns >= self.end_ns:
            return self._knots[-1][1][0], 0.0, 0.0
        start_ns, state, jerk = next(k for k in reversed(self._knots) if k[0] <= t_ns)
        return advance(state, (t_ns - start_ns) / 1e9, jerk)

    def jerk_changes(self, from_ns: int, to_ns: int) -> list[int]:
        """Return the times strictly between these two at which its jerk changes."""
        return [t for t, _, _ in self._knots if from_ns < t < to_ns]


class RemainingTrajectory:
    """Fail-safe trajectory of one joint: the rest of the active trajectory, up to its stop."""

    def __init__(self, curve: Curve, joint: int) -> None:
        self._curve = curve.columns([joint])
        self.end_ns = int(curve.times[-2])

    def at(self, t_ns: int) -> State:
        """Return the state of the curve at a time."""
        p, v = self._curve.at(t_ns)
        a = self._curve.acceleration_at(t_ns)
        return float(p[0]), float(v[0]), float(a[0])

    def jerk_changes(self, from_ns: int, to_ns: int) -> list[int]:
        """Return the times of the curve's knots strictly between these two times."""
        times = self._curve.times
        inside = times[(times > from_ns) & (times < to_ns) & (times <= self.end_ns)]
        return [int(t) for t in inside]


#: Time -> joint index -> fail-safe trajectory from that time on.
FailSafes = dict[int, dict[int, FailSafeTrajectory]]


def advance(state: State, seconds: float, jerk: float) -> State:
    """Return the state after a time of constant jerk."""
    p, v, a = state
    t = seconds
    return (
        p + t * (v + t * (a / 2.0 + t * jerk / 6.0)),
        v + t * (a + t * jerk / 2.0),
        a + t * jerk,
    )


def _time_optimal_stop(
    v: float, a: float, max_acceleration: float, jerk: float
) -> tuple[float, float, float, float]:
    """Return the sign of the velocity to lose and the durations of the three phases of the stop.

    The phases are the ramp to the peak deceleration, the time at it, and the ramp back.
    """
    # Choose the sign so that the velocity left once the acceleration is 0 is positive.
    sign = 1.0 if v + a * abs(a) / (2.0 * jerk) >= 0.0 else -1.0
    speed, pull = sign * v, sign * a
    peak = math.sqrt(max(0.0, jerk * speed + pull * pull / 2.0))
    held = 0.0
    if peak > max_acceleration:
        peak = max_acceleration
        held = (
            speed + pull * pull / (2.0 * jerk) - max_acceleration * max_acceleration / jerk
        ) / max_acceleration
    return sign, (pull + peak) / jerk, held, peak / jerk


def stop_displacement(v: float, a: float, max_acceleration: float, jerk: float) -> float:
    """Return the signed distance that the time-optimal stop from (v, a) covers."""
    sign, up, held, down = _time_optimal_stop(v, a, max_acceleration, jerk)
    state = advance((0.0, v, a), up, -sign * jerk)
    return advance(advance(state, held, 0.0), down, sign * jerk)[0]


def quickest_stop(v: float, a: float, bounds: JointBounds) -> list[Phase]:
    """Return the quickest stop from (v, a): at most three phases of whole milliseconds.

    The time-optimal stop ramps to a peak deceleration, holds it and ramps back. Its durations are
    rounded up, and the peak is set so that the velocity ends at exactly zero.
    """
    if v == 0.0 and a == 0.0:
        return []
    _, up, held, down = _time_optimal_stop(v, a, bounds.acceleration, bounds.jerk)
    return _stop_phases(v, a, max(1, _steps(up)), _steps(held), max(1, _steps(down)), bounds)


def gentle_stop(v: float, a: float, seconds: float, bounds: JointBounds) -> list[Phase]:
    """Return a stop that takes about `seconds`, longer where acceleration or jerk need it.

    A quarter of the time is the ramp to the peak deceleration, half is at it, a quarter is back.
    """
    if v == 0.0 and a == 0.0:
        return []
    quarter = max(1, _steps(seconds / 4.0))
    return _stop_phases(v, a, quarter, 2 * quarter, quarter, bounds)


def _steps(seconds: float) -> int:
    return max(0, math.ceil(seconds / _GRID - 1e-9))


def _stop_phases(
    v: float, a: float, up: int, hold: int, down: int, bounds: JointBounds
) -> list[Phase]:
    """Return the phases of a stop with these durations in ms, extended where a limit needs it."""
    max_acceleration, jerk = bounds.acceleration, bounds.jerk * (1.0 + _ROUNDING)
    while True:
        t1, t2, t3 = up * _GRID, hold * _GRID, down * _GRID
        peak = -(v + a * t1 / 2.0) / (t1 / 2.0 + t2 + t3 / 2.0)
        if abs(peak) > jerk * t3:
            down += 1
        elif abs(peak - a) > jerk * t1:
            up += 1
        elif abs(peak) > max_acceleration * (1.0 + _ROUNDING):
            hold += 1
        else:
            break
    phases = [(t1, (peak - a) / t1), (t2, 0.0), (t3, -peak / t3)]
    return [phase for phase in phases if phase[0] > 0.0]


def within_bounds(state: State, phases: list[Phase], bounds: JointBounds) -> bool:
    """Check that these phases, from this state on, keep every limit at every time."""
    tolerance = _ROUNDING * (bounds.upper - bounds.lower)
    lower, upper = bounds.lower - tolerance, bounds.upper + tolerance
    max_velocity = bounds.velocity * (1.0 + _ROUNDING)
    max_acceleration = bounds.acceleration * (1.0 + _ROUNDING)
    max_jerk = bounds.jerk * (1.0 + 2.0 * _ROUNDING)
    p, v, a = state
    if not (lower <= p <= upper and abs(v) <= max_velocity and abs(a) <= max_acceleration):
        return False
    for seconds, jerk in phases:
        for t in [seconds, *_extrema(state, seconds, jerk)]:
            p, v, _ = advance(state, t, jerk)
            if not (lower <= p <= upper and abs(v) <= max_velocity):
                return False
        state = advance(state, seconds, jerk)
        if abs(jerk) > max_jerk or abs(state[2]) > max_acceleration:
            return False
    return True


def _extrema(state: State, seconds: float, jerk: float) -> list[float]:
    """Return the times within a phase at which position or velocity have an extremum."""
    _, v, a = state
    found = []
    if jerk != 0.0:
        found.append(-a / jerk)
        under = a * a - 2.0 * jerk * v
        if under >= 0.0:
            q = -(a + math.copysign(math.sqrt(under), a))
            found += [q / jerk, 2.0 * v / q if q != 0.0 else 0.0]
    elif a != 0.0:
        found.append(-v / a)
    return [t for t in found if 0.0 < t < seconds]


def viable(state: State, bounds: JointBounds) -> bool:
    """Check that the quickest stop from this state keeps every limit."""
    return within_bounds(state, quickest_stop(state[1], state[2], bounds), bounds)


def jerk_limited_tracking(
    reference: Curve, active: Curve, all_bounds: Mapping[int, JointBounds]
) -> tuple[Curve, FailSafes]:
    """Track the reference with the joints of `all_bounds` (by index) within their jerk limits.

    The other joints keep the reference.

    Args:
        reference: trajectory of all joints, from the time of the splice on.
        active: trajectory that the robot follows until then; it ends in a stop within all limits.
        all_bounds: limits of the joints that have a jerk limit.

    Returns:
        The trajectory, with additional knots where the jerk of a joint changes between two knots
        of the reference; and the fail-safe trajectories at every knot of the reference.

    """
    tracked = {
        j: track_joint(reference.columns([j]), RemainingTrajectory(active, j), b)
        for j, b in all_bounds.items()
    }
    count = reference.positions.shape[1]
    curves = [tracked[j][0] if j in tracked else reference.columns([j]) for j in range(count)]
    fail_safes: FailSafes = {
        int(t): {j: of_joint[int(t)] for j, (_, of_joint) in tracked.items()}
        for t in reference.times
    }
    return Curve.stack_joints(curves), fail_safes


def track_joint(
    reference: Curve, fail_safe: FailSafeTrajectory, bounds: JointBounds
) -> tuple[Curve, dict[int, FailSafeTrajectory]]:
    """Track a reference [K, 1] with one joint, from the present state of its fail-safe trajectory.

    Each step has the constant jerk that `_tracking_jerk` returns. It is taken if the step and the
    quickest stop after it keep every limit; otherwise the joint follows the fail-safe trajectory
    for this step. So every limit is kept, by induction.

    Returns:
        The trajectory, and the fail-safe trajectory at each knot of the reference.

    """
    times = [int(t) for t in reference.times]
    accelerations = np.gradient(reference.velocities[:, 0], (reference.times - times[0]) / NS_PER_S)
    targets = list(
        zip(
            *(x[:, 0].tolist() for x in (reference.positions, reference.velocities)),
            accelerations.tolist(),
            strict=True,
        )
    )
    state = fail_safe.at(times[0])
    knots = [(times[0], state)]
    fail_safes = {times[0]: fail_safe}
    for k in range(1, len(times)):
        h = (times[k] - times[k - 1]) / NS_PER_S
        jerk = _tracking_jerk(state, targets[k], h, bounds)
        after = advance(state, h, jerk)
        stop = quickest_stop(after[1], after[2], bounds)
        if within_bounds(state, [(h, jerk), *stop], bounds):
            state, fail_safe = after, StopTrajectory(times[k], after, stop)
        else:
            changes = fail_safe.jerk_changes(times[k - 1], times[k])
            knots += [(t, fail_safe.at(t)) for t in changes]
            state = fail_safe.at(times[k])
        knots.append((times[k], state))
        fail_safes[times[k]] = fail_safe
    tracked = Curve(
        np.array([t for t, _ in knots], dtype=np.int64),
        np.array([[s[0]] for _, s in knots]),
        np.array([[s[1]] for _, s in knots]),
    )
    return tracked, fail_safes


def _tracking_jerk(state: State, target: State, h: float, bounds: JointBounds) -> float:
    """Return the jerk for the next h s that best reduces the error to the target after them.

    A small error decays like three equal poles. A large error would saturate that law and
    overshoot: then the jerk is such that the quickest stop relative to the target, within a share
    of the limits, would end on it.
    """
    low = max(-bounds.jerk, (-bounds.acceleration - state[2]) / h)
    high = min(bounds.jerk, (bounds.acceleration - state[2]) / h)
    p, v, a = (there - here for there, here in zip(target, advance(state, h, 0.0), strict=True))
    rate = min(_BANDWIDTH, bounds.jerk / bounds.acceleration)
    x = rate * h
    # Jerk = r^3 e + 3 r^2 e' + 3 r e'' of the errors that remain after the step.
    jerk = rate * (rate * (rate * p + 3.0 * v) + 3.0 * a) / (1.0 + x * (3.0 + x * (1.5 + x / 6.0)))
    if abs(jerk) <= _TRACKING_SHARE * bounds.jerk and low <= jerk <= high:
        return jerk
    max_acceleration = _TRACKING_SHARE * bounds.acceleration
    max_jerk = _TRACKING_SHARE * bounds.jerk

    def overshoot(jerk: float) -> float:
        ahead = (h * h * h * jerk / 6.0 - p, h * h * jerk / 2.0 - v, h * jerk - a)
        return ahead[0] + stop_displacement(ahead[1], ahead[2], max_acceleration, max_jerk)

    if overshoot(low) >= 0.0:
        return low
    if overshoot(high) <= 0.0:
        return high
    for _ in range(_BISECTIONS):
        jerk = (low + high) / 2.0
        if overshoot(jerk) > 0.0:
            high = jerk
        else:
            low = jerk
    return (low + high) / 2.0
