"""What the policy is told to do, whoever says it."""

from dataclasses import dataclass
from threading import Lock

from groot_ros.core import MAX_INSTRUCTION_LENGTH as LONGEST
from groot_ros.core import instruction_problem as problem

__all__ = ["LONGEST", "Instruction", "InstructionBox", "problem"]


@dataclass(frozen=True)
class Instruction:
    """One instruction; `id` 0 means that none was ever given, blank text means stop."""

    id: int = 0
    text: str = ""

    @property
    def stops(self) -> bool:
        """Whether there is nothing to do."""
        return not self.text.strip()


class InstructionBox:
    """Holds the newest instruction, from parameter, topic or service alike."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._current = Instruction()

    @property
    def current(self) -> Instruction:
        """The instruction in force."""
        return self._current

    def put(self, text: str) -> bool:
        """Take a new instruction; False when it is the one in force already.

        A blank one is the empty one.
        """
        text = text if text.strip() else ""
        with self._lock:
            if self._current.id > 0 and text == self._current.text:
                return False
            self._current = Instruction(self._current.id + 1, text)
            return True

    def set_if_unset(self, text: str) -> None:
        """Take an instruction only if none was ever given."""
        with self._lock:
            if self._current.id == 0 and text.strip():
                self._current = Instruction(1, text)
