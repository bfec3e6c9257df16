"""forward_command_controller: the newest values are the command, with nothing in between."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray


class ForwardController:
    """Passes position commands on; before the first it holds the position measured then."""

    def __init__(self, joints: Sequence[str]) -> None:
        self.joints = tuple(joints)
        self._command: NDArray[np.float64] | None = None

    def accept(self, values: Sequence[float]) -> None:
        """Take [n] rad or m; ValueError when the number of values is another."""
        if len(values) != len(self.joints):
            raise ValueError(
                f"command size ({len(values)}) does not match number of interfaces "
                f"({len(self.joints)})"
            )
        self._command = np.array(values, dtype=np.float64)

    def hold(self) -> None:
        """Forget the command; the next update holds the position measured then."""
        self._command = None

    def update(self, positions: ArrayLike) -> NDArray[np.float64]:
        """Measured positions [n] in, command [n] out."""
        if self._command is None:
            self._command = np.array(positions, dtype=np.float64)
        return self._command.copy()
