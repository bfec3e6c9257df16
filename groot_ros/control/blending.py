"""The seam between committed motion and a new chunk."""

import numpy as np

from groot_ros.control.curve import Array, Curve, cubic, quintic
from groot_ros.control.limits import Mask
from groot_ros.core import NS_PER_S

#: A blend lasts at most this many windows: a longer one would lag behind a chunk that means it.
_LONGEST = 1.5


def blend_to(
    in_force: Curve,
    goal: Curve,
    at: int,
    which: Mask,
    window: float,
    acceleration: float,
    jerk: Array | None,
) -> tuple[Array, Array]:
    """The goal's knots after its knot `at`, led away from the motion in force: [K, N] each.

    The joints of `which` are blended over `window` s, longer where that would add more than
    `acceleration` (or the goal's own, where it is sharper); those with a jerk limit along a C2
    curve, longer where that limit needs it.
    """
    start_ns = int(goal.times[at])
    p, v = in_force.at(start_ns)
    p = np.where(which, p - goal.positions[at], 0.0)
    v = np.where(which, v - goal.velocities[at], 0.0)
    elapsed = (goal.times[at + 1 :] - start_ns) / NS_PER_S
    times = blend_times(p, v, window, np.maximum(acceleration, goal.rms_acceleration()))
    decay_p, decay_v = decaying_offset(p, v, elapsed, times)
    if jerk is not None and window > 0.0:
        a = in_force.acceleration_at(start_ns) - goal.acceleration_at(start_ns)
        a = np.where(which, a, 0.0)
        times = smooth_blend_times(p, v, a, times, jerk)
        smooth = smoothly_decaying_offset(p, v, a, elapsed, times)
        limited = np.isfinite(jerk)
        decay_p = np.where(limited, smooth[0], decay_p)
        decay_v = np.where(limited, smooth[1], decay_v)
    return goal.positions[at + 1 :] + decay_p, goal.velocities[at + 1 :] + decay_v


def blend_times(offset_p: Array, offset_v: Array, window: float, acceleration: Array) -> Array:
    """Seconds [N] over which an offset decays: `window`, longer where that would be too sharp.

    A cubic from (p, v) to rest at zero in T begins with the acceleration -(6 p + 4 v T) / T^2 and
    ends with (6 p + 2 v T) / T^2, the largest ones. The least T from `window` on that keeps both
    within `acceleration` [N] is taken, but no more than one and a half windows.
    """
    size, a = np.abs(offset_p), acceleration
    # Velocity away from zero, seen from the side on which the offset lies.
    away = offset_v * np.where(offset_p < 0.0, -1.0, 1.0)
    start = 4.0 * np.abs(away)
    # Negative under the root: an offset on its way home never turns too sharply at its start.
    under = start**2 + np.where(away < 0.0, -24.0, 24.0) * a * size
    turning = np.where(under < 0.0, 0.0, (start + np.sqrt(np.maximum(under, 0.0))) / (2.0 * a))
    arriving = (2.0 * away + np.sqrt(4.0 * away**2 + 24.0 * a * size)) / (2.0 * a)
    return np.clip(np.maximum(turning, arriving), window, _LONGEST * window)


def decaying_offset(
    offset_p: Array, offset_v: Array, elapsed: Array, times: Array
) -> tuple[Array, Array]:
    """What to add to the new motion so that it leaves the old one C1: [T, N] each.

    (offset_p, offset_v), both [N], is old minus new at the splice, `elapsed` [T] the s since
    then and `times` [N] the s after which nothing of the offset is left (0: at once). The decay
    is the cubic Hermite segment from (offset_p, offset_v) to rest at zero.
    """
    t = elapsed[:, None]
    at_once = times <= 0.0
    nothing = np.zeros_like(offset_p)
    p, v = np.where(at_once, 0.0, offset_p), np.where(at_once, 0.0, offset_v)
    h = np.where(at_once, 1.0, times)
    return cubic(p, v, nothing, nothing, h, np.clip(t / h, 0.0, 1.0))


def smooth_blend_times(
    offset_p: Array, offset_v: Array, offset_a: Array, window: Array, jerk: Array
) -> Array:
    """Seconds [N] over which an offset decays along a quintic: `window`, longer for its jerk.

    From (p, v, a) to rest at zero in T a quintic begins with the jerk -(60 p / T^3 + 36 v / T^2 +
    9 a / T), its largest from standstill. Each part gets a third of the half of the limit that
    the chunk itself leaves.
    """
    share = jerk / 6.0
    needed = [
        np.cbrt(60.0 * np.abs(offset_p) / share),
        np.sqrt(36.0 * np.abs(offset_v) / share),
        9.0 * np.abs(offset_a) / share,
    ]
    return np.maximum(window, np.max(needed, axis=0))


def smoothly_decaying_offset(
    offset_p: Array, offset_v: Array, offset_a: Array, elapsed: Array, times: Array
) -> tuple[Array, Array]:
    """As `decaying_offset`, but C2: along the quintic from (p, v, a) to rest at zero; times > 0."""
    tau = np.clip(elapsed[:, None] / times, 0.0, 1.0)
    nothing = np.zeros_like(offset_p)
    return quintic(offset_p, offset_v, offset_a, nothing, nothing, nothing, times, tau)
