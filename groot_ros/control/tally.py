"""How many chunks came, were executed, and were refused for what."""

from collections import Counter

from groot_ros.control.refusal import Refusal


class Tally:
    """Counts since the start.

    Attributes:
        received: chunks, the malformed ones too.
        accepted: chunks that became motion.

    """

    def __init__(self) -> None:
        self.received = self.accepted = 0
        self._refusals: Counter[str] = Counter()

    def refuse(self, refusal: Refusal) -> Refusal:
        """Count a refusal and hand it back."""
        self._refusals[refusal.reason] += 1
        return refusal

    @property
    def refusals(self) -> dict[str, int]:
        """Refusals by reason, in alphabetical order."""
        return dict(sorted(self._refusals.items()))
