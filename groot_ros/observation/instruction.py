# SPDX-License-Identifier: Apache-2.0
"""The newest instruction for the policy, from parameter, topic or service."""

from dataclasses import dataclass, field
from threading import Lock

from groot_ros.core import is_blank
from groot_ros.core.prompt import NO_PICTURES, Pictures, same_pictures


@dataclass(frozen=True)
class Instruction:
    """One instruction; `id` 0 means that none was given yet, an empty text means stop.

    Attributes:
        source: who gave it, one of SOURCE_* of the message Instruction.
        pictures: pictures of the placeholders in the text.

    """

    id: int = 0
    text: str = ""
    source: str = ""
    pictures: Pictures = field(default_factory=dict, compare=False)

    @property
    def stops(self) -> bool:
        """Return whether the instruction is to stop."""
        return is_blank(self.text)


class InstructionBox:
    """Thread-safe holder of the newest instruction; each change increments its id."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._current = Instruction()

    @property
    def current(self) -> Instruction:
        """Return the newest instruction."""
        return self._current

    def set(self, text: str, source: str = "", pictures: Pictures = NO_PICTURES) -> bool:
        """Set the instruction; return False if text and pictures are unchanged.

        A text without a visible character is replaced by the empty one.
        """
        text = "" if is_blank(text) else text
        with self._lock:
            current = self._current
            unchanged = text == current.text and same_pictures(pictures, current.pictures)
            if current.id > 0 and unchanged:
                return False
            self._current = Instruction(current.id + 1, text, source, pictures)
            return True

    def set_if_unset(self, text: str, source: str = "") -> None:
        """Set the instruction if none was given yet and the text is not blank."""
        with self._lock:
            if self._current.id == 0 and not is_blank(text):
                self._current = Instruction(1, text, source)
