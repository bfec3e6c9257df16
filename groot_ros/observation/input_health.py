"""How the inputs do, for the status."""

from dataclasses import dataclass

from groot_ros.core import ns_to_s
from groot_ros.observation.rate import RateMeter


@dataclass(frozen=True)
class InputHealth:
    """How one input does.

    Attributes:
        age: s since the newest stamp, -1 when nothing usable was ever received.
        rate: Hz received.
        rate_expected: Hz the contract promises, 0 = unsaid.
        count: messages received, rejected ones included.

    """

    name: str
    age: float
    rate: float
    rate_expected: float
    count: int


class InputMeter:
    """Counts one input's messages and remembers its newest stamp."""

    def __init__(self, name: str, rate_expected: float) -> None:
        self._name = name
        self._rate_expected = rate_expected
        self._meter = RateMeter()
        self._newest: int | None = None

    def arrived(self, now_ns: int) -> None:
        """One message, whatever becomes of it."""
        self._meter.add(now_ns)

    def accepted(self, stamp_ns: int) -> None:
        """It was good, and speaks of this moment."""
        self._newest = stamp_ns

    def health(self, now_ns: int) -> InputHealth:
        """The figures of this moment."""
        age = -1.0 if self._newest is None else ns_to_s(now_ns - self._newest)
        rate = self._meter.rate(now_ns)
        return InputHealth(self._name, age, rate, self._rate_expected, self._meter.count)
