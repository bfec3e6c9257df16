"""Rejections: counted by reason, told once in a while."""

from collections import Counter
from collections.abc import Collection
from threading import Lock

#: Reasons that are somebody's wish, not a fault.
WISHES = frozenset(
    {
        "estopped",
        "on_hold",
        "awaiting_step",
        "looking_around",
        "before_stop",
        "instruction_ended",
        "old_episode",
        "no_instruction",
        "superseded",
    }
)


class Rejected(Exception):  # noqa: N818 - a rejection is a normal answer, not an error
    """The policy cannot act on what it has.

    Attributes:
        reason: short snake_case name, stable, for counting.
        detail: which input, how old, how skewed.

    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class RejectionCounts:
    """How often each reason came up, and whether it is time to say so; safe between threads.

    Args:
        quiet_ns: a reason that was told is not told again for so long.
        once: reasons that are told once, until over().

    """

    def __init__(self, quiet_ns: int, once: Collection[str] = ()) -> None:
        self._lock = Lock()
        self._quiet_ns = quiet_ns
        self._once = frozenset(once)
        self._counts: Counter[str] = Counter()
        self._told: dict[str, int] = {}

    def add(self, reason: str, now_ns: int) -> bool:
        """Count one; whether it should be told now. `now_ns` is of a steady clock."""
        with self._lock:
            self._counts[reason] += 1
            told = self._told.get(reason)
            quiet = told is not None and now_ns - told < self._quiet_ns
            if quiet or (told is not None and reason in self._once):
                return False
            self._told[reason] = now_ns
            return True

    def over(self) -> None:
        """Nothing is rejected any more: what is told once is told again when it comes back."""
        with self._lock:
            for reason in self._once:
                self._told.pop(reason, None)

    def as_dict(self) -> dict[str, int]:
        """Reason -> count, by name."""
        with self._lock:
            return dict(sorted(self._counts.items()))
