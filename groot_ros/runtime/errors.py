"""What can be wrong with an engine; every message is one line: what, where, and how to mend it."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from groot_ros.runtime.oracle import ValidationResult


class EngineFilesError(ValueError):
    """Engine files cannot be used."""


class StepsNotStoredError(EngineFilesError):
    """Nothing is stored for this number of denoising steps: an engine may be right all the same."""


class TensorRtError(EngineFilesError):
    """TensorRT cannot do what was asked."""


class EngineFailedError(ValueError):
    """An engine broke while it was loaded or proven, be it for lack of memory."""


class UnvalidatedEngineError(ValueError):
    """An engine does not give the stored answers.

    Attributes:
        verdict: how far it is from them.

    """

    def __init__(self, name: str, verdict: "ValidationResult") -> None:
        super().__init__(
            f"engine '{name}' does not give the stored answers: {verdict}; make its files anew, "
            "take another engine, or set allow_unvalidated_engine"
        )
        self.verdict = verdict
