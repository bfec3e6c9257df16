"""The seam between committed motion and a new chunk."""

import numpy as np

from groot_ros.control.interpolation import Array, cubic


def decaying_offset(
    offset_p: Array, offset_v: Array, elapsed: Array, window: float
) -> tuple[Array, Array]:
    """What to add to the new motion so that it leaves the old one C1: [T, N] each.

    (offset_p, offset_v), both [N], is old minus new at the splice, `elapsed` [T] the s since
    then and `window` the s after which nothing of the offset is left (0: at once). The decay
    is the cubic Hermite segment from (offset_p, offset_v) to rest at zero.
    """
    t = elapsed[:, None]
    if window <= 0.0:
        zero = np.zeros((len(elapsed), len(offset_p)))
        return zero, zero.copy()
    nothing = np.zeros_like(offset_p)
    tau = np.clip(t / window, 0.0, 1.0)
    return cubic(offset_p, offset_v, nothing, nothing, window, tau)
