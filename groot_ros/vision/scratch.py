"""Arrays that outlive a call: fresh memory pages cost more than the arithmetic done in them."""

import math
import threading
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

#: Bytes: a vector register and a cache line; no load of an aligned array lies across two lines.
_ALIGNED = 64
#: Views are kept for a robot's few sizes of images; of more, all are made anew.
_VIEWS = 256


class Scratch(threading.local):
    """Memory by name, of every thread its own, that grows to the largest array asked for."""

    def __init__(self) -> None:
        self._memory: dict[str, NDArray[np.uint8]] = {}
        self._views: dict[tuple[str, tuple[int, ...], DTypeLike], NDArray[Any]] = {}

    def array(self, name: str, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
        """An array of any content, valid until the next one of this name and thread."""
        key = name, shape, dtype
        if key not in self._views:
            if len(self._views) >= _VIEWS:
                self._views.clear()
            self._views[key] = self._view(name, shape, dtype)
        return self._views[key]

    def _view(self, name: str, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
        size = math.prod(shape) * np.dtype(dtype).itemsize
        if name not in self._memory or self._memory[name].size < size:
            # Views of the smaller memory would keep it.
            self._views = {key: view for key, view in self._views.items() if key[0] != name}
            memory = np.empty(size + _ALIGNED, dtype=np.uint8)
            self._memory[name] = memory[-memory.ctypes.data % _ALIGNED :]
        return self._memory[name][:size].view(dtype).reshape(shape)
