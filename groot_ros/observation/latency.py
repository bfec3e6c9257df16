"""How long things take, lately."""

from collections import deque
from math import ceil


class LatencyWindow:
    """Quantiles of the last durations, the first few excluded.

    The window forgets, so that one hiccup does not count for ever, and the first durations
    of a run (allocations, caches, clocks) never enter it.

    Args:
        size: how many durations count.
        warm_up: how many of the first are left out.

    """

    def __init__(self, size: int = 200, warm_up: int = 3) -> None:
        self._seconds: deque[float] = deque(maxlen=size)
        self._to_skip = warm_up

    def __len__(self) -> int:
        return len(self._seconds)

    def add(self, seconds: float) -> None:
        """One more duration, s."""
        if self._to_skip > 0:
            self._to_skip -= 1
        else:
            self._seconds.append(seconds)

    def quantile(self, share: float) -> float:
        """The smallest duration that `share` of the window does not exceed, s; 0 when empty."""
        return self.quantiles(share)[0]

    def quantiles(self, *shares: float) -> list[float]:
        """The same of several shares."""
        if not self._seconds:
            return [0.0] * len(shares)
        ordered = sorted(self._seconds)
        return [ordered[max(ceil(share * len(ordered)), 1) - 1] for share in shares]
