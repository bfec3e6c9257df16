"""Arrays that outlive a call: fresh memory pages cost more than the arithmetic done in them."""

import math
import threading
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

#: Bytes: a vector register and a cache line; no load of an aligned array lies across two lines.
_ALIGNED = 64


class Scratch(threading.local):
    """Memory by name, of every thread its own, that grows to the largest array asked for."""

    def __init__(self) -> None:
        self._memory: dict[str, NDArray[np.uint8]] = {}

    def array(self, name: str, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
        """An array of any content, valid until the next one of this name and thread."""
        size = math.prod(shape) * np.dtype(dtype).itemsize
        if name not in self._memory or self._memory[name].size < size:
            memory = np.empty(size + _ALIGNED, dtype=np.uint8)
            self._memory[name] = memory[-memory.ctypes.data % _ALIGNED :]
        return self._memory[name][:size].view(dtype).reshape(shape)
