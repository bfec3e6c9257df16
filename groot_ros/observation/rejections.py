# SPDX-License-Identifier: Apache-2.0
"""Rejections of inputs, observations and chunks: the exception, and counters for status and log."""

from collections import Counter
from collections.abc import Collection
from threading import Lock

from groot_ros.core.printable import MAX_MESSAGE, printable

#: Reasons that follow from a request or from startup, not from a fault; logged as information.
EXPECTED_REJECTIONS = frozenset(
    {
        "estopped",
        "on_hold",
        "awaiting_step",
        "discovering",
        "before_stop",
        "paused",
        "instruction_ended",
        "old_episode",
        "no_instruction",
        "superseded",
        "still_moving",
        "executor_stopped",
    }
)
#: Reasons for which no observation is wanted, so none was rejected; they are only logged.
NOT_COUNTED = frozenset({"no_instruction"})


class Rejected(Exception):  # noqa: N818 - a rejection is a normal answer, not an error
    """The policy cannot act on the inputs that it has.

    Attributes:
        reason: code in snake_case, stable, used for counting.
        detail: which input, its age or skew.
        source: camera or topic of the input that is missing or too old; empty for other reasons.

    """

    def __init__(self, reason: str, detail: str, source: str = "") -> None:
        self.reason = reason
        self.detail = printable(detail, MAX_MESSAGE)
        super().__init__(f"{reason}: {self.detail}")
        self.source = source


class RejectionCounts:
    """Thread-safe counters by reason, which also limit how often a reason is logged.

    Args:
        quiet_ns: time after a log entry in which the same reason is not logged again.
        once: reasons that are logged once, until rearm() is called.

    """

    def __init__(self, quiet_ns: int, once: Collection[str] = ()) -> None:
        self._lock = Lock()
        self._quiet_ns = quiet_ns
        self._once = frozenset(once)
        self._counts: Counter[str] = Counter()
        self._logged: dict[str, int] = {}

    def record_rejection(self, reason: str, now_ns: int) -> bool:
        """Count a rejection at `now_ns` (steady clock); return whether to log it now.

        Those of NOT_COUNTED are not counted.
        """
        with self._lock:
            if reason not in NOT_COUNTED:
                self._counts[reason] += 1
            logged = self._logged.get(reason)
            quiet = logged is not None and now_ns - logged < self._quiet_ns
            if quiet or (logged is not None and reason in self._once):
                return False
            self._logged[reason] = now_ns
            return True

    def rearm(self) -> None:
        """Log the `once` reasons again when they come back."""
        with self._lock:
            for reason in self._once:
                self._logged.pop(reason, None)

    def as_dict(self) -> dict[str, int]:
        """Return reason -> count, sorted by reason."""
        with self._lock:
            return dict(sorted(self._counts.items()))
