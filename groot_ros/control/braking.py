# SPDX-License-Identifier: Apache-2.0
"""Braking tails: every published trajectory ends in one, exactly at rest.

The deceleration is constant, or jerk-limited for joints with a jerk limit.
"""

from collections.abc import Mapping

import numpy as np

from groot_ros.control.curve import Array, Curve
from groot_ros.control.jerk_limits import (
    FailSafeTrajectory,
    JointBounds,
    StopTrajectory,
    gentle_stop,
    quickest_stop,
    viable,
    within_bounds,
)
from groot_ros.control.limits import BRAKING_GRID, Limits, Mask
from groot_ros.core import NS_PER_S, s_to_ns

#: Time at rest at the end of every tail, s: a message that arrives late still ends in the future.
REST_DURATION = 0.2
#: Smallest share of the braking time that a tail takes after unsteady motion.
MIN_STEADINESS = 1 / 3
#: Sample times relative to the start of a tail, s, and the weights of the positions sampled there
#: in the slope of their least-squares parabola at the start of the tail.
_SAMPLE_OFFSETS = np.linspace(-0.2, 0.0, 11)
_SLOPE_WEIGHTS = np.linalg.pinv(np.vander(_SAMPLE_OFFSETS, 3))[1]


def steadiness(curve: Curve) -> Array:
    """Return the share of the velocity at the curve's end that the motion before it supports, [N].

    This is the slope of a parabola fitted to the last 0.2 s divided by the velocity, within
    [MIN_STEADINESS, 1]; 1 for smooth motion. The rest of the velocity is noise of the policy's
    last step, and braking from it slowly would only add a deviation.
    """
    times = curve.end_ns + np.round(_SAMPLE_OFFSETS * NS_PER_S).astype(np.int64)
    v = curve.velocities[-1]
    if times[0] < curve.start_ns:
        return np.ones_like(v)
    slope = _SLOPE_WEIGHTS @ (curve.sample(times)[0] - curve.positions[-1])
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.where(v == 0.0, 1.0, slope / v)
    return np.clip(share, MIN_STEADINESS, 1.0)


def braking_times(limits: Limits, p: Array, v: Array, desired: Array | float) -> Array:
    """Return the braking time [N] of each joint in s: `desired`, as far as limits allow it.

    A stop in T covers v T / 2, so a position limit nearby shortens it, but never below the
    |v| / A that the acceleration limit needs (a viable state allows both).
    """
    speed = np.abs(v)
    distance = np.maximum(np.where(v > 0.0, limits.upper - p, p - limits.lower), 0.0)
    shortest = speed / limits.acceleration
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        longest = np.where(speed > 0.0, 2.0 * (distance / speed - BRAKING_GRID), np.inf)
    return np.maximum(shortest, np.minimum(desired, longest))


def can_stop(limits: Limits, p: Array, v: Array) -> Mask:
    """Return which joints can stop within their limits, jerk included, from acceleration 0, [N]."""
    stoppable = limits.viable(p, v)
    for joint, bounds in limits.jerk_bounds().items():
        stoppable[joint] &= viable((float(p[joint]), float(v[joint]), 0.0), bounds)
    return stoppable


def with_braking_tail(
    curve: Curve,
    limits: Limits,
    desired: float,
    fail_safes: Mapping[int, FailSafeTrajectory] | None = None,
) -> Curve:
    """Append a braking tail to the curve, from its last knot; the last two knots are at rest.

    Joints with different braking times get separate knots; a cubic segment reproduces constant
    deceleration and constant jerk exactly.

    Args:
        curve: motion to brake from.
        limits: of its joints.
        desired: braking time in s, used as far as limits allow it; shorter after unsteady motion.
        fail_safes: by index, the fail-safe trajectories of the joints with a jerk limit. Such a
            joint brakes in the desired time where that keeps its limits, else by its quickest
            stop, else along its fail-safe trajectory.

    """
    p, v = curve.positions[-1], curve.velocities[-1]
    share = steadiness(curve)
    seconds = braking_times(limits, p, v, desired * share)
    grid_ns = s_to_ns(BRAKING_GRID)
    # Rounded up: no deceleration grows, and a viable state can brake one grid step longer.
    full_ns = np.maximum(np.ceil(seconds / BRAKING_GRID), 1.0).astype(np.int64) * grid_ns
    stops = {
        joint: _jerk_limited_stop(curve, joint, bounds, desired * float(share[joint]), fail_safes)
        for joint, bounds in limits.jerk_bounds().items()
    }
    for joint, stop in stops.items():
        full_ns[joint] = max(stop.end_ns - curve.end_ns, grid_ns)
    knots = np.unique(np.append(full_ns, full_ns.max() + s_to_ns(REST_DURATION)))
    if stops:
        changes = [
            t_ns - curve.end_ns
            for stop in stops.values()
            for t_ns in stop.jerk_changes(curve.end_ns, stop.end_ns)
        ]
        knots = np.unique(np.append(knots, np.array(changes, dtype=np.int64)))
    full, t = full_ns / NS_PER_S, knots[:, None] / NS_PER_S
    left = np.maximum(full - t, 0.0)
    velocities = v * left / full
    positions = p + v * full / 2.0 - velocities * left / 2.0
    for joint, stop in stops.items():
        states = [stop.at(curve.end_ns + int(knot)) for knot in knots]
        positions[:, joint] = [state[0] for state in states]
        velocities[:, joint] = [state[1] for state in states]
    return curve.followed_by(curve.end_ns + knots, positions, velocities)


def _jerk_limited_stop(
    curve: Curve,
    joint: int,
    bounds: JointBounds,
    desired: float,
    fail_safes: Mapping[int, FailSafeTrajectory] | None,
) -> FailSafeTrajectory:
    t_ns = curve.end_ns
    fail_safe = None if fail_safes is None else fail_safes[joint]
    state = (
        float(curve.positions[-1, joint]),
        float(curve.velocities[-1, joint]),
        float(curve.acceleration_at(t_ns)[joint]) if fail_safe is None else fail_safe.at(t_ns)[2],
    )
    _, v, a = state
    candidates = [quickest_stop(v, a, bounds)]
    if desired > 0.0:
        candidates.insert(0, gentle_stop(v, a, desired, bounds))
    for phases in candidates:
        if within_bounds(state, phases, bounds):
            return StopTrajectory(t_ns, state, phases)
    return fail_safe or StopTrajectory(t_ns, state, candidates[-1])
