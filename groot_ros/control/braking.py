"""The tail that every published motion ends in: constant deceleration, exactly to rest."""

import numpy as np

from groot_ros.control.curve import Curve
from groot_ros.control.interpolation import Array
from groot_ros.control.limits import BRAKING_GRID, Limits
from groot_ros.types import NS_PER_S, s_to_ns

#: s that every tail stands after coming to rest: a late message still ends in the future.
STANDING = 0.2
#: s over which the velocity at a tail's start is held against the motion before it.
STEADY_WINDOW = 0.15
#: Share of its time that a tail takes at least, however unsteady the motion before it was.
LEAST_SHARE = 1 / 3


def steadiness(curve: Curve) -> Array:
    """How far the velocity at the curve's end is borne out by the motion before it, [N].

    Mean velocity of the last `STEADY_WINDOW` s as a share of the last one, within
    [LEAST_SHARE, 1]. A joint that trembles at 0.5 rad/s on its way at 0.1 rad/s has a fifth of
    its way to coast on.
    """
    p, v = curve.positions[-1], curve.velocities[-1]
    from_ns = max(curve.start_ns, curve.end_ns - s_to_ns(STEADY_WINDOW))
    mean = (p - curve.at(from_ns)[0]) * (NS_PER_S / (curve.end_ns - from_ns))
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.where(v == 0.0, 1.0, mean / v)
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


def brought_to_rest(curve: Curve, limits: Limits, wanted: float) -> Curve:
    """The curve with a tail from its last knot to rest; its last two knots stand.

    A tail takes `wanted` s where limits leave the choice, less after unsteady motion: it coasts
    no further than the joint's way so far bears out.
    Joints that need different times get a knot each; a cubic segment reproduces constant
    deceleration exactly, so the tail's acceleration is v / T throughout.
    """
    p, v = curve.positions[-1], curve.velocities[-1]
    seconds = braking_times(limits, p, v, wanted * steadiness(curve))
    grid_ns = s_to_ns(BRAKING_GRID)
    # Rounded up: no deceleration grows, and a viable state has room for one grid step.
    full_ns = np.maximum(np.ceil(seconds / BRAKING_GRID), 1.0).astype(np.int64) * grid_ns
    knots = np.unique(np.append(full_ns, full_ns.max() + s_to_ns(STANDING)))
    full, t = full_ns / NS_PER_S, knots[:, None] / NS_PER_S
    left = np.maximum(full - t, 0.0)
    velocities = v * left / full
    positions = p + v * full / 2.0 - velocities * left / 2.0
    return curve.followed_by(curve.end_ns + knots, positions, velocities)
