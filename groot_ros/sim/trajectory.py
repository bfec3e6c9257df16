"""What a trajectory_msgs/JointTrajectory says, and the curve that its points mean.

Rules of ros2_controllers' trajectory sampling, Humble and Jazzy alike.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from groot_ros.core import NS_PER_S


@dataclass(frozen=True)
class TrajectoryPoint:
    """One knot; an empty field is one that the sender left out. Positions in rad or m."""

    time_from_start_ns: int
    positions: Sequence[float] = ()
    velocities: Sequence[float] = ()
    accelerations: Sequence[float] = ()
    effort: Sequence[float] = ()


@dataclass(frozen=True)
class TrajectoryMessage:
    """A whole message, not yet checked; stamp 0 means "start when it is first sampled"."""

    stamp_ns: int
    joint_names: Sequence[str]
    points: Sequence[TrajectoryPoint]


@dataclass(frozen=True)
class Knot:
    """Position [n], and velocity and acceleration [n] where they are given."""

    position: NDArray[np.float64]
    velocity: NDArray[np.float64] | None = None
    acceleration: NDArray[np.float64] | None = None


def interpolate(before: Knot, after: Knot, duration: float, t: float) -> Knot:
    """The curve `t` s into a segment of `duration` s.

    Linear from positions, cubic where both ends have velocities, quintic where both have
    accelerations too: the lowest specification of the two ends counts. Outside the segment the
    nearer end's position is held.
    """
    cubic = before.velocity is not None and after.velocity is not None
    quintic = cubic and before.acceleration is not None and after.acceleration is not None
    if not 0.0 <= t <= duration:
        t, cubic, quintic = min(max(t, 0.0), duration), False, False
    rise = after.position - before.position
    zero = np.zeros_like(rise)
    if duration == 0.0:
        return Knot(before.position, zero, zero)
    s = t / duration
    # Coefficients of the powers of s in [0, 1], from the boundary values scaled by the duration.
    c = np.zeros((6, rise.size))
    c[0] = before.position
    if not cubic:
        c[1] = rise
    else:
        assert before.velocity is not None
        assert after.velocity is not None
        v0, v1 = before.velocity * duration, after.velocity * duration
        if not quintic:
            c[1], c[2], c[3] = v0, 3 * rise - 2 * v0 - v1, v0 + v1 - 2 * rise
        else:
            assert before.acceleration is not None
            assert after.acceleration is not None
            a0, a1 = before.acceleration * duration**2, after.acceleration * duration**2
            c[1], c[2] = v0, a0 / 2
            c[3] = 10 * rise - 6 * v0 - 4 * v1 - (3 * a0 - a1) / 2
            c[4] = -15 * rise + 8 * v0 + 7 * v1 + (3 * a0 - 2 * a1) / 2
            c[5] = 6 * rise - 3 * (v0 + v1) - (a0 - a1) / 2
    powers = s ** np.arange(6)
    slope = np.arange(1, 6) * powers[:5]
    bend = np.arange(2, 6) * np.arange(1, 5) * powers[:4]
    return Knot(powers @ c, slope @ c[1:] / duration, bend @ c[2:] / duration**2)


class SampledTrajectory:
    """The trajectory in force: knots at absolute times and the state before the first of them."""

    def __init__(
        self, stamp_ns: int, times_from_start_ns: Sequence[int], knots: Sequence[Knot]
    ) -> None:
        self._stamp_ns = stamp_ns
        self._offsets_ns = list(times_from_start_ns)
        self._knots = list(knots)
        self._before: Knot | None = None
        self._before_ns = 0

    @property
    def started(self) -> bool:
        """Whether the state before it is known, that is, it has been sampled once."""
        return self._before is not None

    def ends_after(self, time_ns: int) -> bool:
        """Whether the last knot is still to come."""
        return not self.started or self._stamp_ns + self._offsets_ns[-1] > time_ns

    def start(self, now_ns: int, before: Knot, before_ns: int) -> None:
        """The first sample is due: a zero stamp becomes now."""
        self._stamp_ns = self._stamp_ns or now_ns
        self._before, self._before_ns = before, before_ns

    def sample(self, time_ns: int) -> Knot:
        """The curve at one instant; after the last knot, that knot for ever."""
        assert self._before is not None, "start() comes first"
        times = [self._stamp_ns + offset for offset in self._offsets_ns]
        if time_ns < times[0]:
            return _between(self._before, self._knots[0], self._before_ns, times[0], time_ns)
        for i in range(len(times) - 1):
            if time_ns < times[i + 1]:
                first, second = self._knots[i], self._knots[i + 1]
                return _between(first, second, times[i], times[i + 1], time_ns)
        last = self._knots[-1]
        zero = np.zeros_like(last.position)
        return Knot(
            last.position,
            zero if last.velocity is None else last.velocity,
            zero if last.acceleration is None else last.acceleration,
        )


def _between(before: Knot, after: Knot, start_ns: int, end_ns: int, time_ns: int) -> Knot:
    duration = (end_ns - start_ns) / NS_PER_S
    return interpolate(before, after, duration, (time_ns - start_ns) / NS_PER_S)
