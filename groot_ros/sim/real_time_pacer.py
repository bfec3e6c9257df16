"""How simulated time keeps up with a clock."""

from groot_ros.core import NS_PER_S

#: Further behind or ahead than this, ns, the robot does not make up for it: it jumps.
_MAX_LAG_NS = NS_PER_S // 2
#: Waking up more often than this costs more than it gives, s.
_SHORTEST_WAIT = 0.001


class RealTimePacer:
    """Says how many control periods are due; simulated time runs `factor` times the clock's."""

    def __init__(self, period_ns: int, factor: float = 1.0) -> None:
        self._period_ns = period_ns
        self._factor = factor
        self._anchor_ns: int | None = None
        self._done = 0

    def due(self, clock_ns: int) -> tuple[int, int]:
        """Periods to simulate now, and by how many ns the clock has jumped away from them.

        A jump is not caught up with: the count goes on from here.
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
        """Until the next period is due, s of the clock, or a little longer."""
        rest_ns = self._period_ns - self._lag_ns(clock_ns)
        return max(_SHORTEST_WAIT, rest_ns / self._factor / NS_PER_S)

    def _lag_ns(self, clock_ns: int) -> float:
        anchor_ns = clock_ns if self._anchor_ns is None else self._anchor_ns
        return (clock_ns - anchor_ns) * self._factor - self._done * self._period_ns
