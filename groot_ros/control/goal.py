"""A chunk as the curve it asks for, before blending and limits."""

import math
from collections.abc import Sequence

import numpy as np

from groot_ros.control.curve import Array, Curve, refine
from groot_ros.control.limits import Limits
from groot_ros.core import NS_PER_S, ActionChunk, s_to_ns
from groot_ros.robot.controller import Interpolation

#: s: a chunk's steps are divided into knots no further apart than this.
KNOT_SPACING = 0.017


def joint_columns(chunk: ActionChunk, joint_names: Sequence[str]) -> Array:
    """The chunk's values of these joints, [horizon, N], picked by name."""
    columns = {
        name: group.values[:, i] for group in chunk.groups for i, name in enumerate(group.names)
    }
    return np.stack([columns[name] for name in joint_names], axis=1)


def knot_spacing(limits: Limits) -> float:
    """Seconds that knots may be apart for these limits, see limited_tracking()."""
    return min(KNOT_SPACING, float((limits.velocity / limits.acceleration).min()))


def reference_curve(
    chunk: ActionChunk,
    joint_names: Sequence[str],
    methods: Sequence[Interpolation],
    max_age: float,
    spacing: float,
) -> tuple[Curve, float]:
    """The chunk's knots that are due within max_age s of its observation, and their dt.

    Knots are a whole fraction of the chunk's dt apart, at most `spacing` s.
    """
    last_ns = chunk.stamp_ns + s_to_ns(max_age)
    due = (last_ns - chunk.start_ns) / NS_PER_S / chunk.dt
    # Two steps more: the velocities at the end of what is kept look at their neighbours.
    steps = min(chunk.horizon, math.ceil(due) + 2)
    parts = math.ceil(chunk.dt / spacing)
    dt = chunk.dt / parts
    positions, velocities = refine(
        joint_columns(chunk, joint_names)[:steps], chunk.dt, parts, methods
    )
    offsets = np.round(np.arange(len(positions)) * (dt * NS_PER_S)).astype(np.int64)
    times = chunk.start_ns + offsets
    young = times <= last_ns
    return Curve(times[young], positions[young], velocities[young]), dt
