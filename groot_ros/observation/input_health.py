# SPDX-License-Identifier: Apache-2.0
"""Health of inputs and durations of work: sliding-window rates, ages and latency quantiles."""

from collections import deque
from dataclasses import dataclass
from math import ceil

from groot_ros.core import NS_PER_S, ns_to_s


class RateMeter:
    """Events per second over a sliding window.

    Args:
        window_ns: length of the window; the rate of a stream that stops is 0 after this time.

    Attributes:
        count: number of events since construction.

    """

    def __init__(self, window_ns: int = 2 * NS_PER_S) -> None:
        self._window_ns = window_ns
        self._events: deque[int] = deque()
        self._since: int | None = None
        self.count = 0

    def record_event(self, now_ns: int) -> None:
        """Record an event at `now_ns`; a time that goes backwards restarts the measurement."""
        self.count += 1
        if self._since is None or (self._events and now_ns < self._events[-1]):
            self._events.clear()
            self._since = now_ns
            return
        self._events.append(now_ns)
        self._expire(now_ns)

    def rate(self, now_ns: int) -> float:
        """Return the rate in Hz; the first event only starts the measurement."""
        self._expire(now_ns)
        if self._since is None or not self._events:
            return 0.0
        elapsed = min(self._window_ns, max(now_ns, self._events[-1]) - self._since)
        return len(self._events) * NS_PER_S / elapsed if elapsed > 0 else 0.0

    def _expire(self, now_ns: int) -> None:
        while self._events and self._events[0] <= now_ns - self._window_ns:
            self._events.popleft()


@dataclass(frozen=True)
class InputHealth:
    """Age, rate and message count of one input.

    Attributes:
        age: s since the newest usable stamp, -1 if no usable message was received.
        rate: received messages per second, Hz.
        expected_rate: Hz according to the robot contract, 0 = not given.
        count: messages received, rejected ones included.

    """

    name: str
    age: float
    rate: float
    expected_rate: float
    count: int


class InputMeter:
    """Counter of the messages of one input, with the stamp of the newest usable one."""

    def __init__(self, name: str, expected_rate: float) -> None:
        self._name = name
        self._expected_rate = expected_rate
        self._meter = RateMeter()
        self._newest: int | None = None
        self._arrived_ns: int | None = None

    def arrives(self, now_ns: int) -> bool:
        """Return whether a message, usable or not, was received in the last second."""
        return self._arrived_ns is not None and now_ns - self._arrived_ns <= NS_PER_S

    @property
    def count(self) -> int:
        """Return the number of messages received, rejected ones included."""
        return self._meter.count

    def record_arrival(self, now_ns: int) -> None:
        """Record a received message, usable or not."""
        self._meter.record_event(now_ns)
        self._arrived_ns = now_ns

    def record_usable(self, stamp_ns: int) -> None:
        """Record that a message with this stamp was accepted."""
        self._newest = stamp_ns

    def health(self, now_ns: int) -> InputHealth:
        """Return age, rate and count at `now_ns`."""
        age = -1.0 if self._newest is None else ns_to_s(now_ns - self._newest)
        rate = self._meter.rate(now_ns)
        return InputHealth(self._name, age, rate, self._expected_rate, self._meter.count)


class LatencyWindow:
    """Quantiles of the last durations, without the first few.

    The window is bounded, so that an outlier is forgotten. The first durations of a run are
    skipped: they contain allocations, cache misses and clock ramps.

    Args:
        size: number of durations kept.
        warm_up: number of durations skipped at the start.

    """

    def __init__(self, size: int = 200, warm_up: int = 3) -> None:
        self._seconds: deque[float] = deque(maxlen=size)
        self._to_skip = warm_up

    def __len__(self) -> int:
        return len(self._seconds)

    def record_latency(self, seconds: float) -> None:
        """Record a duration, s."""
        if self._to_skip > 0:
            self._to_skip -= 1
        else:
            self._seconds.append(seconds)

    def quantile(self, share: float) -> float:
        """Return the smallest duration that `share` of them do not exceed, s; 0 when empty."""
        return self.quantiles(share)[0]

    def quantiles(self, *shares: float) -> list[float]:
        """Return quantile() of several shares."""
        if not self._seconds:
            return [0.0] * len(shares)
        ordered = sorted(self._seconds)
        return [ordered[max(ceil(share * len(ordered)), 1) - 1] for share in shares]
