"""The seam between committed motion and a new chunk."""

import numpy as np

from groot_ros.control.interpolation import Array, cubic

#: A blend lasts at most this many windows: a longer one would lag behind a chunk that means it.
_LONGEST = 1.5


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
