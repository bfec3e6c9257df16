"""Whether time went on as it should since the last call."""

from groot_ros.types import ns_to_s


class ClockWatch:
    """Notices a clock that jumps: a simulation was reset, or this process stood still."""

    def __init__(self) -> None:
        self._last_ns: int | None = None

    def jump(self, now_ns: int, most_back: float, most_ahead: float) -> str:
        """What happened to the clock, or an empty string; both bounds are s since the last call."""
        step = 0.0 if self._last_ns is None else ns_to_s(now_ns - self._last_ns)
        self._last_ns = now_ns
        if step < -most_back:
            return "the clock went back"
        if step > most_ahead:
            return f"the clock went {step:.1f} s ahead, or this process stood still"
        return ""
