# SPDX-License-Identifier: Apache-2.0
"""Checks of the records' invariants; a violation has a code for statistics and a line of text."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from groot_ros.core.printable import MAX_MESSAGE, printable


class MalformedError(ValueError):
    """A record breaks its own invariants.

    Attributes:
        reason: short snake_case code, stable, for counting rejections.
        detail: one line for people; text of a message or file in it is escaped and cut.

    """

    def __init__(self, reason: str, detail: str) -> None:
        self.reason = reason
        self.detail = printable(detail, MAX_MESSAGE)
        super().__init__(f"{reason}: {self.detail}")


def require(condition: bool, reason: str, detail: str) -> None:
    """Raise MalformedError(reason, detail) unless the condition holds."""
    if not condition:
        raise MalformedError(reason, detail)


def require_unique(names: Sequence[str], what: str) -> None:
    """Raise MalformedError if a name is empty or given twice; controllers accept duplicates."""
    if not all(names):
        raise MalformedError("empty_name", f"{what} contains an empty name: {list(names)}")
    if len(set(names)) != len(names):
        repeated = sorted({n for n in names if names.count(n) > 1})
        raise MalformedError("duplicate_name", f"{what} names {repeated} more than once")


def frozen_float_array(values: ArrayLike, what: str) -> NDArray[np.float64]:
    """Return a read-only float64 copy; raise MalformedError if a value is not finite."""
    array = np.array(values, dtype=np.float64)
    if not np.isfinite(array).all():
        where = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
        raise MalformedError("non_finite", f"{what}{list(where)} is {array[where]}")
    array.setflags(write=False)
    return array
