"""How many chunks came, were executed, and were rejected for what."""

from collections import Counter

from groot_ros.control.rejection import Rejection


class Counters:
    """Counts since the start.

    Attributes:
        received: chunks, the malformed ones too.
        accepted: chunks that became motion.

    """

    def __init__(self) -> None:
        self.received = self.accepted = 0
        self._rejections: Counter[str] = Counter()

    def reject(self, rejection: Rejection) -> Rejection:
        """Count a rejection and hand it back."""
        self._rejections[rejection.reason] += 1
        return rejection

    @property
    def rejections(self) -> dict[str, int]:
        """Rejections by reason, in alphabetical order."""
        return dict(sorted(self._rejections.items()))
