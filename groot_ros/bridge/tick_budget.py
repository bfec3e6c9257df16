"""Work that must not make a timer late is done where it fits between two ticks."""

from collections import deque

#: How many pieces of work are remembered.
_REMEMBERED = 32


class TickBudget:
    """Whether one more piece of work fits in before the next tick, judged by the last ones.

    Args:
        period: s between ticks; work of unknown length is taken to need half of it.

    """

    def __init__(self, period: float) -> None:
        self._taken: deque[float] = deque([period / 2.0], maxlen=_REMEMBERED)

    def fits(self, left: float) -> bool:
        """Whether work begun now is over when the next tick is due, `left` s from now."""
        return left > max(self._taken)

    def took(self, seconds: float) -> None:
        """A piece of work is done."""
        self._taken.append(seconds)
