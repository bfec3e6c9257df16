"""Whether time went on as it should since the last call."""

from groot_ros.core import ns_to_s

#: s between two calls from which on the process stood still, or its clock was set a little.
_STALL = 0.2
#: s within which what has come meanwhile is heard.
_CATCHING_UP = 0.1


class ClockWatch:
    """Notices a clock that jumps: a simulation was reset, or this process stood still."""

    def __init__(self) -> None:
        self._last_ns: int | None = None
        self._stalled_ns: int | None = None
        self._slow = False

    def jump(self, now_ns: int, most_back: float, most_ahead: float) -> str:
        """What happened to the clock, or an empty string; both bounds are s since the last call."""
        step = 0.0 if self._last_ns is None else ns_to_s(now_ns - self._last_ns)
        self._last_ns = now_ns
        if step > _STALL and not self._slow:
            self._stalled_ns = now_ns
        self._slow = step > _STALL
        if step < -most_back:
            return "the clock went back"
        if step > most_ahead:
            return f"the clock went {step:.1f} s ahead, or this process stood still"
        return ""

    def is_catching_up(self, now_ns: int) -> bool:
        """Whether so little time has passed since a stall that what is old may just be unread."""
        return self._stalled_ns is not None and ns_to_s(now_ns - self._stalled_ns) < _CATCHING_UP
