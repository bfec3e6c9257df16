# SPDX-License-Identifier: Apache-2.0
"""Judge of a scene with words and pictures that an arm works on."""

from groot_ros.core import ns_to_s, s_to_ns
from groot_ros.sim.prompt_table import PromptTable

#: Time between two looks, and for which all objects must have rested, s.
_LOOK_EVERY, _RESTED = 0.1, 0.3


class PromptJudge:
    """Judge of the scene that a table has now; observe it once per control cycle.

    Attributes:
        scene: the scene.
        succeeded_after: s from the start until the prompt was fulfilled; None before.

    """

    def __init__(self, table: PromptTable) -> None:
        self.scene = table.scene
        self.succeeded_after: float | None = None
        self._table = table
        self._start = self._looked = self._disturbed = table.arm.time_ns
        self._done = 0

    @property
    def seconds(self) -> float:
        """Return the time since the start, s."""
        return ns_to_s(self._table.arm.time_ns - self._start)

    def observe(self) -> None:
        """Take the present state of the objects."""
        now = self._table.arm.time_ns
        if self.succeeded_after is not None or now - self._looked < s_to_ns(_LOOK_EVERY):
            return
        self._looked = now
        if not self._table.at_rest:
            self._disturbed = now
        if now - self._disturbed < s_to_ns(_RESTED):
            return
        moves = self.scene.moves
        if self._done < len(moves) and self._table.fulfilled(moves[self._done]):
            self._done += 1
        in_order = self._done == len(moves) or not self.scene.in_order
        if in_order and self._table.succeeded:
            self.succeeded_after = self.seconds
