"""Memory that was freed goes back to the system."""

import ctypes
import functools
from collections.abc import Callable


@functools.cache
def _trim() -> Callable[[int], int] | None:
    """Glibc's malloc_trim, None where another C library is in use."""
    return getattr(ctypes.CDLL(None), "malloc_trim", None)


def give_back() -> None:
    """Return the free pages of the heap.

    glibc keeps what blocks of up to 32 MB leave behind, which is the size of a layer's weights: a
    model of 5 GB whose layers are replaced one by one would hold 0.8 GB more than it needs.
    """
    trim = _trim()
    if trim is not None:
        trim(0)
