"""A few out of many, evenly spaced."""

from collections.abc import Sequence
from typing import Generic, TypeVar

import numpy as np

T = TypeVar("T")


def evenly_spaced(many: Sequence[T], count: int) -> list[T]:
    """`count` of them from the first to the last; all where there are fewer."""
    return [many[i] for i in sorted({round(i) for i in np.linspace(0, len(many) - 1, count)})]


class StreamSubsampler(Generic[T]):
    """A few out of a stream of unknown length, without holding all of it.

    Up to twice as many as are wanted are kept; whenever they are more, every second one goes. So
    they are equally far apart all the time, but for the newest.
    """

    def __init__(self, count: int) -> None:
        self._count, self._every, self._seen = count, 1, 0
        self._kept: list[T] = []
        self._newest: list[T] = []

    @property
    def held(self) -> int:
        """How many are in memory now."""
        return len(self._kept) + len(self._newest)

    def add(self, one: T) -> None:
        """The next of the stream."""
        self._newest = [one]
        if self._seen % self._every == 0:
            self._kept.append(one)
            self._newest = []
            if len(self._kept) > 2 * self._count:
                del self._kept[1::2]
                self._every *= 2
        self._seen += 1

    def chosen(self) -> list[T]:
        """From the first to the newest, as many as were wanted or as there were."""
        return evenly_spaced([*self._kept, *self._newest], self._count)
