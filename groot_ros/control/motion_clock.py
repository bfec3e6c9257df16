# SPDX-License-Identifier: Apache-2.0
"""Time of the committed motion, which advances at the speed scaling that the robot reports.

A joint_trajectory_controller with speed scaling advances the clock of its trajectory by s times the
elapsed time, until the next message sets that clock to the present time. All curves of this package
are therefore functions of the motion time, and stamps are converted where they enter or leave.
Without speed scaling, motion time is time.
"""

from bisect import bisect_right
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from groot_ros.core import s_to_ns

#: Factors from here on are full speed: robots report 0.998 at times.
_FULL_SPEED = 0.99
#: Factors below this are a pause.
_PAUSED = 0.005
#: Conversions are exact for this long; older times are converted at the oldest known rate.
_HISTORY_NS = s_to_ns(3.0)


class SpeedScaling:
    """The factors by which the robot scales its motion, from any number of sources.

    The smallest one counts. A controller whose version does not support scaling reports 0 all the
    time, so the 0 of a controller is ignored until it has reported another factor.
    """

    def __init__(self) -> None:
        self._factors: dict[str, float] = {}
        self._of_robot: float | None = None

    @property
    def factor(self) -> float:
        """Return the present factor; 1 without a source."""
        factors = [*self._factors.values(), *([] if self._of_robot is None else [self._of_robot])]
        return min(factors, default=1.0)

    @property
    def of_controllers(self) -> dict[str, float]:
        """Return the factor of each controller that reports one."""
        return self._factors

    def report(self, controller: str, factor: float) -> None:
        """Store the factor that a controller reports."""
        if factor > 0.0 or controller in self._factors:
            self._factors[controller] = factor

    def report_of_robot(self, factor: float) -> None:
        """Store the factor of the topic in the robot contract."""
        self._of_robot = factor


class MotionClock:
    """Piecewise linear map from time to motion time, both in ns; the identity until scaled.

    Attributes:
        scaling: present rate of the motion time, in [0, 1].

    """

    def __init__(self) -> None:
        self.reset()
        self.scaling = 1.0

    def reset(self) -> None:
        """Set motion time to time; the present rate is kept."""
        #: Times from which on a rate holds, the motion time there, and the rate.
        self._times: list[int] = []
        self._motion: list[int] = []
        self._rates: list[float] = []

    @property
    def paused(self) -> bool:
        """Return whether motion time stands still."""
        return self.scaling == 0.0

    @property
    def identity(self) -> bool:
        """Return whether motion time is time, and always was since the last reset."""
        return not self._times and self.scaling == 1.0

    def advance(self, now_ns: int, factor: float) -> None:
        """Set the rate of the motion time from `now_ns` on to this speed scaling.

        Factors above 1 count as 1: the motion keeps the limits at full speed.
        """
        scaling = 0.0 if factor < _PAUSED else round(factor, 3)
        scaling = 1.0 if scaling >= _FULL_SPEED else scaling
        if scaling == self.scaling and (self._times or scaling == 1.0):
            return
        self.scaling = scaling
        self._append(now_ns, self.at(now_ns))

    def shift(self, now_ns: int, by_ns: int) -> None:
        """Add to the motion time: the robot is further along its motion by `by_ns`."""
        if by_ns:
            self._append(now_ns, self.at(now_ns) + by_ns)

    def at(self, time_ns: int) -> int:
        """Return the motion time at a time; later times are taken at the present scaling."""
        if not self._times:
            return time_ns
        i = bisect_right(self._times, time_ns) - 1
        if i < 0:
            return self._motion[0] + (time_ns - self._times[0])
        return self._motion[i] + round((time_ns - self._times[i]) * self._rates[i])

    def at_all(self, times_ns: Iterable[int]) -> NDArray[np.int64]:
        """Return the motion times at several times."""
        if not self._times:
            return np.asarray(times_ns, dtype=np.int64)
        return np.array([self.at(int(time_ns)) for time_ns in times_ns], dtype=np.int64)

    def rates(self, times_ns: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the rate of the motion time at several times."""
        rates = np.array([1.0, *self._rates] if self._rates else [self.scaling])
        return rates[np.searchsorted(np.array(self._times, dtype=np.int64), times_ns, "right")]

    def _append(self, now_ns: int, motion_ns: int) -> None:
        keep = max(0, bisect_right(self._times, now_ns - _HISTORY_NS) - 1)
        # A correction of the present replaces what was assumed for later times.
        end = max(keep, bisect_right(self._times, now_ns - 1))
        self._times = [*self._times[keep:end], now_ns]
        self._motion = [*self._motion[keep:end], motion_ns]
        self._rates = [*self._rates[keep:end], self.scaling]
