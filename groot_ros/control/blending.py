# SPDX-License-Identifier: Apache-2.0
"""Blending of the active trajectory into the reference trajectory of a new chunk."""

import numpy as np

from groot_ros.control.curve import Array, Curve, cubic, quintic
from groot_ros.control.limits import Mask
from groot_ros.core import NS_PER_S

#: Longest blend in blend windows: a longer one would lag behind a chunk that intends a sharp move.
_MAX_WINDOWS = 1.5


def blend_to(
    active: Curve,
    reference: Curve,
    at: int,
    blended: Mask,
    window: float,
    acceleration: float,
    jerk: Array | None,
) -> tuple[Array, Array]:
    """Return the reference's knots after knot `at`, offset to continue the active trajectory.

    The difference of the two trajectories at knot `at` decays to zero. Joints with a jerk limit
    decay along a C2 curve, for longer where that limit needs it.

    Args:
        active: trajectory that the robot follows.
        reference: trajectory of the new chunk.
        at: index of the reference's knot at which the splice lies.
        blended: the joints to blend; the others jump to the reference.
        window: duration of the blend, s; longer where the blend would add more than `acceleration`
            or, if that is larger, the reference's own RMS acceleration.
        acceleration: rad/s^2 or m/s^2.
        jerk: jerk limits [N], infinite for joints without one; None if no joint has one.

    Returns:
        Positions and velocities, [K, N] each.

    """
    start_ns = int(reference.times[at])
    p, v = active.at(start_ns)
    p = np.where(blended, p - reference.positions[at], 0.0)
    v = np.where(blended, v - reference.velocities[at], 0.0)
    elapsed = (reference.times[at + 1 :] - start_ns) / NS_PER_S
    times = blend_times(p, v, window, np.maximum(acceleration, reference.rms_acceleration()))
    decay_p, decay_v = decaying_offset(p, v, elapsed, times)
    if jerk is not None and window > 0.0:
        a = active.acceleration_at(start_ns) - reference.acceleration_at(start_ns)
        a = np.where(blended, a, 0.0)
        times = quintic_blend_times(p, v, a, times, jerk)
        quintic_p, quintic_v = quintic_decaying_offset(p, v, a, elapsed, times)
        limited = np.isfinite(jerk)
        decay_p = np.where(limited, quintic_p, decay_p)
        decay_v = np.where(limited, quintic_v, decay_v)
    return reference.positions[at + 1 :] + decay_p, reference.velocities[at + 1 :] + decay_v


def blend_times(offset_p: Array, offset_v: Array, window: float, acceleration: Array) -> Array:
    """Return the durations [N] in s over which an offset decays along a cubic.

    They are `window`, or as long as needed to add at most `acceleration` [N], up to 1.5 windows. A
    cubic from (p, v) to rest at zero in T has its largest accelerations at its start,
    -(6 p + 4 v T) / T^2, and at its end, (6 p + 2 v T) / T^2.
    """
    size, a = np.abs(offset_p), acceleration
    # Velocity away from zero: positive where the offset still grows.
    away = offset_v * np.where(offset_p < 0.0, -1.0, 1.0)
    start = 4.0 * np.abs(away)
    # Negative under the root: the offset already decreases and its start is never too sharp.
    under = start**2 + np.where(away < 0.0, -24.0, 24.0) * a * size
    turning = np.where(under < 0.0, 0.0, (start + np.sqrt(np.maximum(under, 0.0))) / (2.0 * a))
    arriving = (2.0 * away + np.sqrt(4.0 * away**2 + 24.0 * a * size)) / (2.0 * a)
    return np.clip(np.maximum(turning, arriving), window, _MAX_WINDOWS * window)


def decaying_offset(
    offset_p: Array, offset_v: Array, elapsed: Array, times: Array
) -> tuple[Array, Array]:
    """Return what to add to the new trajectory so that it continues the old one C1, [T, N] each.

    The offset decays along the cubic Hermite segment from (offset_p, offset_v) to rest at zero.

    Args:
        offset_p: old minus new position at the splice, [N].
        offset_v: old minus new velocity at the splice, [N].
        elapsed: time since the splice, [T] s.
        times: duration of the decay, [N] s; 0 means no offset.

    """
    t = elapsed[:, None]
    immediate = times <= 0.0
    nothing = np.zeros_like(offset_p)
    p, v = np.where(immediate, 0.0, offset_p), np.where(immediate, 0.0, offset_v)
    h = np.where(immediate, 1.0, times)
    return cubic(p, v, nothing, nothing, h, np.clip(t / h, 0.0, 1.0))


def quintic_blend_times(
    offset_p: Array, offset_v: Array, offset_a: Array, window: Array, jerk: Array
) -> Array:
    """Return the durations [N] in s over which an offset decays along a quintic.

    They are `window`, or as long as the jerk limit needs. A quintic from (p, v, a) to rest at zero
    in T begins with the jerk -(60 p / T^3 + 36 v / T^2 + 9 a / T), which is its largest from
    standstill. Half of the limit is left to the chunk; each of the three terms gets a third of the
    other half.
    """
    share = jerk / 6.0
    needed = [
        np.cbrt(60.0 * np.abs(offset_p) / share),
        np.sqrt(36.0 * np.abs(offset_v) / share),
        9.0 * np.abs(offset_a) / share,
    ]
    return np.maximum(window, np.max(needed, axis=0))


def quintic_decaying_offset(
    offset_p: Array, offset_v: Array, offset_a: Array, elapsed: Array, times: Array
) -> tuple[Array, Array]:
    """Return the same as `decaying_offset`, but C2: along a quintic from (p, v, a); times > 0."""
    tau = np.clip(elapsed[:, None] / times, 0.0, 1.0)
    nothing = np.zeros_like(offset_p)
    return quintic(offset_p, offset_v, offset_a, nothing, nothing, nothing, times, tau)
