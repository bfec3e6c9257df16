"""What is wrong for a moment is a lag; what stays wrong is a fault."""

from groot_ros.types import ns_to_s


class Patience:
    """How long something has been wrong without a break."""

    def __init__(self) -> None:
        self._since_ns: int | None = None

    def is_over(self, wrong: bool, at_ns: int, seconds: float) -> bool:
        """Whether it has been wrong for so long; said once, then patience begins anew.

        So it does after a clock that went back.
        """
        if not wrong:
            self._since_ns = None
            return False
        if self._since_ns is None or at_ns < self._since_ns:
            self._since_ns = at_ns
        if ns_to_s(at_ns - self._since_ns) < seconds:
            return False
        self._since_ns = None
        return True
