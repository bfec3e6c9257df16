"""Why a chunk was not executed, countable by a stable reason."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Rejection:
    """One rejected chunk.

    Attributes:
        reason: short snake_case name, stable, for counting.
        detail: one line: what, where, how to mend.

    """

    reason: str
    detail: str

    def __str__(self) -> str:
        return f"{self.reason}: {self.detail}"
