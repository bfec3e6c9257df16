# SPDX-License-Identifier: Apache-2.0
"""Time of the simulation: periodic instants, and pacing by a clock."""

from groot_ros.core import NS_PER_S

#: Larger deviations from the clock than this are not made up for: the simulation jumps.
_MAX_LAG_NS = NS_PER_S // 2
#: Shortest wait, s: shorter ones cost more processor time than they gain.
_MIN_WAIT = 0.001


class PeriodicTimer:
    """Instants at a fixed rate without drift; missed instants are skipped."""

    def __init__(self, rate: float, start_ns: int) -> None:
        self._rate = rate
        self._start_ns = start_ns
        self._next = 0

    def due(self, now_ns: int) -> bool:
        """Return whether an instant has passed since the last call that returned True."""
        if now_ns < self._start_ns + round(self._next * NS_PER_S / self._rate):
            return False
        elapsed = now_ns - self._start_ns
        # Half a nanosecond allows for the rounding of instants to whole nanoseconds.
        self._next = int((elapsed + 0.5) * self._rate / NS_PER_S) + 1
        return True

    def restart(self, start_ns: int) -> None:
        """Count from another instant, after a jump of the clock."""
        self._start_ns = start_ns
        self._next = 0


class RealTimePacer:
    """Number of control periods that are due; simulated time runs `factor` times the clock's."""

    def __init__(self, period_ns: int, factor: float = 1.0) -> None:
        self._period_ns = period_ns
        self._factor = factor
        self._anchor_ns: int | None = None
        self._done = 0

    def due(self, clock_ns: int) -> tuple[int, int]:
        """Return the periods to simulate now, and the ns by which the clock has jumped.

        A jump is not made up for: counting continues from the new time.
        """
        if self._anchor_ns is None:
            self._anchor_ns = clock_ns
        lag_ns = self._lag_ns(clock_ns)
        jump_ns = 0
        if abs(lag_ns) > _MAX_LAG_NS * max(1.0, self._factor):
            self._anchor_ns, self._done = clock_ns, 0
            jump_ns, lag_ns = round(lag_ns), 0.0
        cycles = max(0, int(lag_ns // self._period_ns))
        self._done += cycles
        return cycles, jump_ns

    def wait(self, clock_ns: int) -> float:
        """Return the time until the next period is due, s of the clock, or slightly more."""
        rest_ns = self._period_ns - self._lag_ns(clock_ns)
        return max(_MIN_WAIT, rest_ns / self._factor / NS_PER_S)

    def _lag_ns(self, clock_ns: int) -> float:
        anchor_ns = clock_ns if self._anchor_ns is None else self._anchor_ns
        return (clock_ns - anchor_ns) * self._factor - self._done * self._period_ns
