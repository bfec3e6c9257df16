"""When the next of something regular is due."""

from groot_ros.core import NS_PER_S


class PeriodicTimer:
    """Instants at a fixed rate that never drift; those missed are skipped, not made up for."""

    def __init__(self, rate: float, start_ns: int) -> None:
        self._rate = rate
        self._start_ns = start_ns
        self._next = 0

    def due(self, now_ns: int) -> bool:
        """Whether an instant has come since the last time this said so."""
        if now_ns < self._start_ns + round(self._next * NS_PER_S / self._rate):
            return False
        elapsed = now_ns - self._start_ns
        # Half a nanosecond forgives the rounding of instants to whole nanoseconds.
        self._next = int((elapsed + 0.5) * self._rate / NS_PER_S) + 1
        return True

    def restart(self, start_ns: int) -> None:
        """Count from another instant: the clock has jumped."""
        self._start_ns = start_ns
        self._next = 0
