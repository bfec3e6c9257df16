# SPDX-License-Identifier: Apache-2.0
"""Why a joint or a reference deviates from the motion sent: late, slowed, standing, elsewhere."""

from collections import deque
from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from groot_ros.control.curve import Array, Curve
from groot_ros.core import NS_PER_S, s_to_ns

#: Observations of the last s are compared with the motion sent.
_WINDOW = 0.4
#: Observations at least, and s that they must span, for more than a comparison of two positions.
_MIN_COUNT, _MIN_SPAN = 6, 0.08
#: Delays and time constants of servos that are tried, s, and rates of the motion.
_DELAYS = np.arange(0.0, 0.605, 0.01)
_SERVOS = np.arange(0.01, 0.605, 0.01)
_RATES = (0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1)
#: A longer delay is no explanation, s.
_LONGEST = 0.59
#: A delay explains a deviation if it leaves at most this share of it: of a joint, as a servo is not
#: late by a constant time, and of a reference, which is exact.
OF_JOINT, OF_REFERENCE = 0.2, 0.1
#: A rate explains a deviation if it leaves at most this share of what a delay leaves.
_SLOWED = 0.3
#: Smaller travel than this share of the commanded travel is standing still; so is less than this
#: in rad or m.
_STANDING_SHARE, _STANDING = 0.1, 0.01


class Cause(Enum):
    """Kinds of deviations."""

    LATE = "late"
    SLOWED = "slowed"
    STANDING = "standing"
    ELSEWHERE = "elsewhere"


@dataclass(frozen=True)
class Deviation:
    """Explanation of a deviation.

    Attributes:
        cause: what explains it best.
        delay: s by which the motion is late, of causes LATE and SLOWED.
        rate: share of the commanded speed, of cause SLOWED; 1 otherwise.

    """

    cause: Cause
    delay: float = 0.0
    rate: float = 1.0


class ObservedMotion:
    """The last observations of n joints, with the motion time of each of them."""

    def __init__(self) -> None:
        self._rows: deque[tuple[NDArray[np.int64], Array]] = deque(maxlen=200)

    def clear(self) -> None:
        """Forget all observations."""
        self._rows.clear()

    def add(self, times_ns: NDArray[np.int64], positions: Array) -> None:
        """Add an observation: motion times and positions of the joints, [n] each."""
        if self._rows and (self._rows[-1][0] == times_ns).all():
            return
        self._rows.append((times_ns.copy(), positions.copy()))

    def of_joint(self, joint: int) -> tuple[NDArray[np.int64], Array]:
        """Return times [T] and positions [T, 1] of one joint."""
        times = np.array([row[0][joint] for row in self._rows], dtype=np.int64)
        return times, np.array([row[1][joint] for row in self._rows]).reshape(-1, 1)

    def of_all(self) -> tuple[NDArray[np.int64], Array]:
        """Return times [T] and positions [T, n] of joints that were observed at the same times."""
        times = np.array([row[0][0] for row in self._rows], dtype=np.int64)
        return times, np.array([row[1] for row in self._rows])


def explain(
    commanded: Curve, times_ns: NDArray[np.int64], observed: Array, worst: int, share: float
) -> Deviation:
    """Explain the deviation of joints from the motion sent, by their last observations.

    Args:
        commanded: curve of the n joints.
        times_ns: times of the observations, [T], increasing.
        observed: positions [T, n], rad or m.
        worst: the joint with the largest deviation.
        share: a delay must leave at most this share of the deviation.

    """
    if len(times_ns):
        recent = times_ns > times_ns[-1] - s_to_ns(_WINDOW)
        times_ns, observed = times_ns[recent], observed[recent]
    if len(times_ns) < _MIN_COUNT or (times_ns[-1] - times_ns[0]) / NS_PER_S < _MIN_SPAN:
        return Deviation(Cause.ELSEWHERE)
    sent = commanded.sample(times_ns)[0]
    travel, sent_travel = np.ptp(observed[:, worst]), np.ptp(sent[:, worst])
    if travel <= max(_STANDING, _STANDING_SHARE * float(sent_travel)):
        return Deviation(Cause.STANDING)
    allowed = share * float(np.sqrt(((sent - observed) ** 2).mean()))
    delay, left = min(
        _best_delay(commanded, times_ns, observed, 1.0),
        _best_servo(sent, times_ns, observed),
        key=lambda each: each[1],
    )
    slowed = [(rate, *_best_delay(commanded, times_ns, observed, rate)) for rate in _RATES]
    rate, slowed_delay, slowed_left = min(slowed, key=lambda each: each[2])
    if slowed_left <= min(allowed, _SLOWED * left):
        return Deviation(Cause.SLOWED, slowed_delay, rate)
    if left <= allowed and 0.0 < delay < _LONGEST:
        return Deviation(Cause.LATE, delay)
    return Deviation(Cause.ELSEWHERE)


def _best_delay(
    commanded: Curve, times_ns: NDArray[np.int64], observed: Array, rate: float
) -> tuple[float, float]:
    """Return the delay at the newest observation, s, and the deviation that it leaves, RMS."""
    age = (times_ns - times_ns[-1]) / NS_PER_S
    back = _DELAYS[:, None] - rate * age[None, :]
    shifted = times_ns[-1] - np.round(back * NS_PER_S).astype(np.int64)
    sent = commanded.sample(shifted.ravel())[0].reshape(*shifted.shape, -1)
    left = np.sqrt(((sent - observed) ** 2).mean(axis=(1, 2)))
    i = int(np.argmin(left))
    return _between(_DELAYS, left, i), float(left[i])


def _best_servo(sent: Array, times_ns: NDArray[np.int64], observed: Array) -> tuple[float, float]:
    """Return the time constant of a servo, s, and the deviation that it leaves, RMS.

    The servo closes its error exponentially. In steady motion it is late by its time constant, but
    after a change of the motion by less.
    """
    follows = np.repeat(observed[None, 0], len(_SERVOS), axis=0)
    squares = np.zeros(len(_SERVOS))
    steps = np.diff(times_ns) / NS_PER_S
    for k, step in enumerate(steps):
        middle = (sent[k] + sent[k + 1]) / 2.0
        follows += (1.0 - np.exp(-step / _SERVOS))[:, None] * (middle - follows)
        squares += ((follows - observed[k + 1]) ** 2).sum(axis=1)
    left = np.sqrt(squares / observed.size)
    i = int(np.argmin(left))
    return _between(_SERVOS, left, i), float(left[i])


def _between(grid: Array, values: Array, i: int) -> float:
    """Return the minimum of the parabola of the squares through three points around index i."""
    if not 0 < i < len(grid) - 1:
        return float(grid[i])
    before, at, after = values[i - 1] ** 2, values[i] ** 2, values[i + 1] ** 2
    bend = before - 2.0 * at + after
    step = 0.0 if bend <= 0.0 else 0.5 * (before - after) / bend
    return float(grid[i] + step * (grid[1] - grid[0]))
