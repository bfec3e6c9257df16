# SPDX-License-Identifier: Apache-2.0
"""Ring buffer of stamped items, searched by time."""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import Generic, TypeVar

from groot_ros.core import NS_PER_S

Item = TypeVar("Item")

#: A stamp further behind the newest one than this comes from a clock that was reset, ns. Less than
#: that is jitter: two drivers whose messages interleave, or a camera that repeats its stamps.
RESET_STEP_NS = NS_PER_S


class History(Generic[Item]):
    """Items ordered by stamp, oldest first, bounded in time and in number.

    Args:
        span_ns: items older than this, counted from the newest, are dropped.
        capacity: largest number of items, whatever their stamps.

    """

    def __init__(self, span_ns: int, capacity: int) -> None:
        self.span_ns = span_ns
        self.capacity = capacity
        self._stamps: list[int] = []
        self._items: list[Item] = []

    def __len__(self) -> int:
        return len(self._stamps)

    @property
    def stamps(self) -> Sequence[int]:
        """All stamps, ascending, ns."""
        return self._stamps

    @property
    def newest(self) -> int:
        """The newest stamp, ns; IndexError when empty."""
        return self._stamps[-1]

    def append(self, stamp_ns: int, item: Item) -> bool:
        """Append the newest item; return False if it is out of order and was dropped.

        An item is out of order if its stamp is not newer than the newest one, by at most
        RESET_STEP_NS. A stamp further back means that the clock was reset or a bag started again:
        all items before it belong to another time and are dropped.
        """
        if self._stamps and stamp_ns <= self._stamps[-1]:
            if self._stamps[-1] - stamp_ns <= RESET_STEP_NS:
                return False
            self.clear()
        self._stamps.append(stamp_ns)
        self._items.append(item)
        expired = bisect_left(self._stamps, stamp_ns - self.span_ns)
        surplus = len(self) - self.capacity
        if expired > 0 or surplus > 0:
            self._keep(max(expired, surplus), len(self))
        return True

    def is_reset_by(self, stamp_ns: int) -> bool:
        """Return whether append() of this stamp would drop all items."""
        return bool(self._stamps) and self._stamps[-1] - stamp_ns > RESET_STEP_NS

    def at(self, stamp_ns: int) -> Item:
        """Return the item with exactly this stamp; KeyError if there is none."""
        index = bisect_left(self._stamps, stamp_ns)
        if index == len(self) or self._stamps[index] != stamp_ns:
            raise KeyError(stamp_ns)
        return self._items[index]

    def nearest(self, stamp_ns: int) -> int | None:
        """Return the nearest stamp, the older of two equally near, None when empty."""
        index = bisect_left(self._stamps, stamp_ns)
        neighbours = self._stamps[max(index - 1, 0) : index + 1]
        return min(neighbours, key=lambda s: abs(s - stamp_ns), default=None)

    def neighbours(self, stamp_ns: int) -> tuple[int | None, int | None]:
        """Return the last stamp at or before this one and the first stamp after it."""
        index = bisect_right(self._stamps, stamp_ns)
        before = self._stamps[index - 1] if index > 0 else None
        after = self._stamps[index] if index < len(self) else None
        return before, after

    def drop_after(self, stamp_ns: int) -> None:
        """Drop the items that are newer than this."""
        if self._stamps and self._stamps[-1] > stamp_ns:
            self._keep(0, bisect_right(self._stamps, stamp_ns))

    def clear(self) -> None:
        """Drop all items."""
        self._keep(0, 0)

    def _keep(self, first: int, end: int) -> None:
        self._stamps = self._stamps[first:end]
        self._items = self._items[first:end]
