"""The tail that every published motion ends in, exactly at rest.

Its deceleration is constant, or of bounded jerk for the joints that limit it.
"""

from collections.abc import Mapping

import numpy as np

from groot_ros.control.curve import Array, Curve
from groot_ros.control.jerk import (
    FailSafeTrajectory,
    JointBounds,
    Stop,
    gentle_pieces,
    stop_pieces,
    viable,
    within,
)
from groot_ros.control.limits import BRAKING_GRID, Limits, Mask
from groot_ros.core import NS_PER_S, s_to_ns

#: s that every tail stands after coming to rest: a late message still ends in the future.
STANDING = 0.2
#: Share of its time that a tail takes at least, however unsteady the motion before it was.
LEAST_SHARE = 1 / 3
#: s before a tail at which the motion is looked at, and what gives of the positions there the
#: slope at its start of the parabola through them in the least squares.
_BEFORE = np.linspace(-0.2, 0.0, 11)
_SLOPE = np.linalg.pinv(np.vander(_BEFORE, 3))[1]


def steadiness(curve: Curve) -> Array:
    """How far the velocity at the curve's end is borne out by the motion before it, [N].

    The slope of a parabola through the last 0.2 s as a share of the velocity, within
    [LEAST_SHARE, 1]: 1 for smooth motion. What else there is in the velocity of one instant is
    noise, which a policy's rough steps are full of; coasting on it leads nowhere.
    """
    times = curve.end_ns + np.round(_BEFORE * NS_PER_S).astype(np.int64)
    v = curve.velocities[-1]
    if times[0] < curve.start_ns:
        return np.ones_like(v)
    slope = _SLOPE @ (curve.sample(times)[0] - curve.positions[-1])
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.where(v == 0.0, 1.0, slope / v)
    return np.clip(share, LEAST_SHARE, 1.0)


def braking_times(limits: Limits, p: Array, v: Array, wanted: Array | float) -> Array:
    """Seconds [N] each joint brakes: `wanted` where limits leave the choice.

    A stop in T covers v T / 2, so a near position limit shortens it, but never below the
    |v| / A that the acceleration limit needs (a viable state has both).
    """
    speed = np.abs(v)
    room = np.maximum(np.where(v > 0.0, limits.upper - p, p - limits.lower), 0.0)
    shortest = speed / limits.acceleration
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        longest = np.where(speed > 0.0, 2.0 * (room / speed - BRAKING_GRID), np.inf)
    return np.maximum(shortest, np.minimum(wanted, longest))


def can_stop(limits: Limits, p: Array, v: Array) -> Mask:
    """Which joints can stop within their limits from a state without acceleration, [N]."""
    fine = limits.viable(p, v)
    for joint, bounds in limits.jerk_bounds().items():
        fine[joint] &= viable((float(p[joint]), float(v[joint]), 0.0), bounds)
    return fine


def brought_to_rest(
    curve: Curve,
    limits: Limits,
    wanted: float,
    escapes: Mapping[int, FailSafeTrajectory] | None = None,
) -> Curve:
    """The curve with a tail from its last knot to rest; its last two knots stand.

    A tail takes `wanted` s where limits leave the choice, less after unsteady motion: it coasts
    no further than the joint's way so far bears out. A joint with a jerk limit takes it where
    that keeps its limits, else its quickest stop, else the `escapes` known for it.

    Joints that need different times get knots of their own; a cubic segment reproduces constant
    deceleration and constant jerk exactly.
    """
    p, v = curve.positions[-1], curve.velocities[-1]
    share = steadiness(curve)
    seconds = braking_times(limits, p, v, wanted * share)
    grid_ns = s_to_ns(BRAKING_GRID)
    # Rounded up: no deceleration grows, and a viable state has room for one grid step.
    full_ns = np.maximum(np.ceil(seconds / BRAKING_GRID), 1.0).astype(np.int64) * grid_ns
    stops = {
        joint: _jerk_limited_stop(curve, joint, bounds, wanted * float(share[joint]), escapes)
        for joint, bounds in limits.jerk_bounds().items()
    }
    for joint, stop in stops.items():
        full_ns[joint] = max(stop.end_ns - curve.end_ns, grid_ns)
    knots = np.unique(np.append(full_ns, full_ns.max() + s_to_ns(STANDING)))
    if stops:
        switches = [
            t_ns - curve.end_ns
            for stop in stops.values()
            for t_ns in stop.switches(curve.end_ns, stop.end_ns)
        ]
        knots = np.unique(np.append(knots, np.array(switches, dtype=np.int64)))
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
    wanted: float,
    escapes: Mapping[int, FailSafeTrajectory] | None,
) -> FailSafeTrajectory:
    t_ns = curve.end_ns
    escape = None if escapes is None else escapes[joint]
    state = (
        float(curve.positions[-1, joint]),
        float(curve.velocities[-1, joint]),
        float(curve.acceleration_at(t_ns)[joint]) if escape is None else escape.at(t_ns)[2],
    )
    _, v, a = state
    tries = [stop_pieces(v, a, bounds)]
    if wanted > 0.0:
        tries.insert(0, gentle_pieces(v, a, wanted, bounds))
    for pieces in tries:
        if within(state, pieces, bounds):
            return Stop(t_ns, state, pieces)
    return escape or Stop(t_ns, state, tries[-1])
