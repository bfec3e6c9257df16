"""What is wrong for a moment is a lag; what stays wrong, or comes back at once, is a fault."""

from groot_ros.core import ns_to_s

#: s that it must be right without a break: a command that sways past a standing joint is right
#: twice a period.
_RECOVERY = 0.2


class FaultDebounce:
    """How long something has been wrong, a short while in between notwithstanding."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Begin anew."""
        self._since_ns: int | None = None
        self._right_since_ns: int | None = None
        self._last_ns = 0

    @property
    def tried(self) -> bool:
        """Whether it is wrong, or was until so recently that it may only seem to be right."""
        return self._since_ns is not None

    def is_over(self, wrong: bool, at_ns: int, seconds: float) -> bool:
        """Whether it is wrong, and first was `seconds` ago or longer, without a recovery since.

        A recovery is 0.2 s of observations that are all right. A clock that went back begins
        anew.
        """
        if at_ns < self._last_ns:
            self.forget()
        self._last_ns = at_ns
        if not wrong:
            self._observe_right(at_ns)
            return False
        self._right_since_ns = None
        if self._since_ns is None:
            self._since_ns = at_ns
        return ns_to_s(at_ns - self._since_ns) >= seconds

    def _observe_right(self, at_ns: int) -> None:
        if self._since_ns is None:
            return
        if self._right_since_ns is None:
            self._right_since_ns = at_ns
        if ns_to_s(at_ns - self._right_since_ns) >= _RECOVERY:
            self._since_ns = self._right_since_ns = None
