"""The committed timeline as the policy gets it: evenly spaced rows of a curve."""

import math

import numpy as np

from groot_ros.control.curve import Array, Curve
from groot_ros.core import NS_PER_S


def even_rows(curve: Curve, from_ns: int, anchor_ns: int, dt: float) -> tuple[int, Array, Array]:
    """Start, positions and velocities of rows at start + i * dt until the curve ends.

    They begin at from_ns or with the curve, whichever is later, aligned so that a row falls on
    anchor_ns (or would): the steps of a chunk are rows.
    """
    first_ns = max(from_ns, curve.start_ns)
    step_ns = dt * NS_PER_S
    start_ns = anchor_ns - round(math.floor((anchor_ns - first_ns) / step_ns) * step_ns)
    # Rounding to whole ns must not cost the last row.
    count = max(1, math.floor((curve.end_ns - start_ns) / step_ns + 1e-6) + 1)
    times = start_ns + np.round(np.arange(count) * step_ns).astype(np.int64)
    return start_ns, *curve.sample(times)
