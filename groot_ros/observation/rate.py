"""How often something really comes."""

from collections import deque

from groot_ros.core import NS_PER_S


class RateMeter:
    """Events per second over a sliding window.

    Args:
        window_ns: how far back events count; a stream that dies reads 0 after so long.

    """

    def __init__(self, window_ns: int = 2 * NS_PER_S) -> None:
        self._window_ns = window_ns
        self._events: deque[int] = deque()
        self._since: int | None = None
        self.count = 0

    def add(self, now_ns: int) -> None:
        """One event now."""
        self.count += 1
        if self._since is None or (self._events and now_ns < self._events[-1]):
            self._events.clear()
            self._since = now_ns
            return
        self._events.append(now_ns)
        self._expire(now_ns)

    def rate(self, now_ns: int) -> float:
        """Hz; the first event only starts the measurement."""
        self._expire(now_ns)
        if self._since is None or not self._events:
            return 0.0
        elapsed = min(self._window_ns, max(now_ns, self._events[-1]) - self._since)
        return len(self._events) * NS_PER_S / elapsed if elapsed > 0 else 0.0

    def _expire(self, now_ns: int) -> None:
        while self._events and self._events[0] <= now_ns - self._window_ns:
            self._events.popleft()
