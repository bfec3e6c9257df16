# SPDX-License-Identifier: Apache-2.0
"""Resampling along one axis of an image as a banded matrix, multiplied in blocks with BLAS.

Results are in scratch buffers: the next product along the same axis overwrites them.
"""

import math
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

Floats = NDArray[np.float32]
Indexes = NDArray[np.intp]

#: Outputs per block. Measured with OpenBLAS: along the rows the size with the fewest
#: multiplications is the fastest, along the columns 16.
_ROWS, _COLUMNS = (4, 6, 8), 16
#: Bytes, a vector register and a cache line: no load of an aligned array spans two lines.
_ALIGNMENT = 64
#: Views that are kept. A robot has few image sizes; beyond this number, views are created again.
_MAX_VIEWS = 256


class ScratchBuffers(threading.local):
    """Named buffers per thread, each as large as the largest array requested.

    Reused because fresh memory pages cost more than the arithmetic done in them.
    """

    def __init__(self) -> None:
        self._memory: dict[str, NDArray[np.uint8]] = {}
        self._views: dict[tuple[str, tuple[int, ...], DTypeLike], NDArray[Any]] = {}

    def array(self, name: str, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
        """Return an uninitialised array, valid until the next one of this name and thread."""
        key = name, shape, dtype
        if key not in self._views:
            if len(self._views) >= _MAX_VIEWS:
                self._views.clear()
            self._views[key] = self._view(name, shape, dtype)
        return self._views[key]

    def _view(self, name: str, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
        size = math.prod(shape) * np.dtype(dtype).itemsize
        if name not in self._memory or self._memory[name].size < size:
            # Views of the smaller buffer would keep it alive.
            self._views = {key: view for key, view in self._views.items() if key[0] != name}
            memory = np.empty(size + _ALIGNMENT, dtype=np.uint8)
            self._memory[name] = memory[-memory.ctypes.data % _ALIGNMENT :]
        return self._memory[name][:size].view(dtype).reshape(shape)


scratch = ScratchBuffers()


@dataclass(frozen=True)
class Blocks:
    """A banded matrix in dense blocks; those of equal size and spacing take one multiplication.

    Attributes:
        weights: float32 [blocks, outputs, sources].
        transposed: the same as [blocks, sources, outputs], contiguous.
        begin: first output of the first block.
        start: first source of the first block.
        stride: sources from one block to the next.
        rest: (outputs, sources, weights [outputs, sources]) that are in no block.

    """

    weights: Floats
    transposed: Floats
    begin: int
    start: int
    stride: int
    rest: tuple[tuple[slice, slice, Floats], ...]

    @classmethod
    def of(
        cls, first: Indexes, table: Floats, source: int, size: int, multiple: int = 1
    ) -> "Blocks":
        """Build blocks of `size` outputs, whose number of sources is a multiple of `multiple`."""
        count, taps = len(first) // size, table.shape[1]
        stride = max(1, round((first[-1] - first[0]) * size / len(first)))
        drift = first[: count * size].reshape(count, size) - stride * np.arange(count)[:, None]
        start = int(drift.min(initial=first[-1]))
        sources = int(drift.max(initial=start)) + taps - start
        sources += -sources % multiple
        starts = start + stride * np.arange(count)
        inside = np.flatnonzero((starts >= 0) & (starts + sources <= source))
        low, high = (int(inside[0]), int(inside[-1]) + 1) if len(inside) else (0, 0)
        weights = np.zeros((high - low, size, sources), dtype=np.float32)
        for block, output in np.ndindex(weights.shape[:2]):
            at = first[(low + block) * size + output] - starts[low + block]
            weights[block, output, at : at + taps] = table[(low + block) * size + output]
        return cls(
            weights,
            np.ascontiguousarray(weights.transpose(0, 2, 1)),
            low * size,
            start + stride * low,
            stride,
            tuple(
                _dense(first, table, at, min(at + size, stop))
                for begin, stop in ((0, low * size), (high * size, len(first)))
                for at in range(begin, stop, size)
            ),
        )

    def from_left(self, image: Floats, out: Floats) -> None:
        """Multiply an image [..., in, n] from the left into [..., out, n]; both contiguous."""
        count, size, sources = self.weights.shape
        *planes, _, width = image.shape
        *strides, down, across = image.strides
        windows = _strided_view(
            image,
            self.start * down,
            (*planes, count, sources, width),
            (*strides, down * self.stride, down, across),
        )
        *strides, down, across = out.strides
        pieces = _strided_view(
            out,
            self.begin * down,
            (*planes, count, size, width),
            (*strides, down * size, down, across),
        )
        np.matmul(self.weights, windows, out=pieces)
        for outputs, seen, weights in self.rest:
            np.matmul(weights, image[..., seen, :], out=out[..., outputs, :])

    def from_right(self, image: Floats, out: Floats) -> None:
        """Multiply an image [n, in] from the right into [n, out]; both contiguous."""
        count, size, sources = self.weights.shape
        down, across = image.strides
        windows = _strided_view(
            image,
            self.start * across,
            (count, len(image), sources),
            (across * self.stride, down, across),
        )
        down, across = out.strides
        pieces = _strided_view(
            out, self.begin * across, (count, len(image), size), (across * size, down, across)
        )
        np.matmul(windows, self.transposed, out=pieces)
        for outputs, seen, weights in self.rest:
            np.matmul(image[:, seen], weights.T, out=out[:, outputs])


def _strided_view(
    array: Floats, offset: int, shape: tuple[int, ...], strides: tuple[int, ...]
) -> Floats:
    """Return a view from byte `offset` on, as numpy's as_strided in a fifth of its time."""
    if 0 in shape:
        return np.empty(shape, np.float32)
    return np.ndarray(shape, np.float32, array, offset, strides)


def _dense(first: Indexes, table: Floats, begin: int, stop: int) -> tuple[slice, slice, Floats]:
    """Return (outputs, sources, weights) of the outputs from begin to stop as one block."""
    low, taps = int(first[begin:stop].min()), table.shape[1]
    sources = int(first[begin:stop].max()) + taps - low
    weights = np.zeros((stop - begin, sources), dtype=np.float32)
    for row, at in enumerate(first[begin:stop] - low):
        weights[row, at : at + taps] = table[begin + row]
    return slice(begin, stop), slice(low, low + sources), weights


@dataclass(frozen=True)
class BandedMatrix:
    """Resampling of one axis: output[d] = sum over taps k of weights[d, k] * source[first[d] + k].

    Attributes:
        first: [out], first source index.
        weights: float32 [out, taps], zero where an output has fewer taps.
        rows: the same in blocks for multiplication along the rows.
        columns: the same in blocks for multiplication along the columns.

    """

    first: Indexes
    weights: Floats
    rows: Blocks
    columns: Blocks

    @classmethod
    def of(cls, taps: Sequence[tuple[int, Sequence[float]]], source: int) -> "BandedMatrix":
        """Build the matrix from (first source index, weights) of every output."""
        width = max(len(weights) for _, weights in taps)
        first = np.array([min(start, source - width) for start, _ in taps], dtype=np.intp)
        table = np.zeros((len(taps), width), dtype=np.float32)
        for row, (start, weights) in enumerate(taps):
            shift = start - first[row]
            table[row, shift : shift + len(weights)] = weights
        rows = (Blocks.of(first, table, source, size) for size in _ROWS)
        return cls(
            first,
            table,
            min(rows, key=lambda blocks: blocks.weights.shape[2]),
            Blocks.of(first, table, source, _COLUMNS, multiple=4),
        )

    @property
    def taps(self) -> int:
        """Largest number of source pixels of an output."""
        return self.weights.shape[1]

    def along_rows(self, image: NDArray[Any]) -> Floats:
        """Resample [..., in, n] to [..., out, n]; the result is a scratch buffer."""
        shape = (*image.shape[:-2], len(self.first), image.shape[-1])
        out = scratch.array("rows", shape, np.float32)
        self.rows.from_left(as_floats(image), out)
        return out

    def along_columns(self, image: NDArray[Any]) -> Floats:
        """Resample [..., in] to [..., out]; the result is a scratch buffer."""
        lines = as_floats(image).reshape(-1, image.shape[-1])
        out = scratch.array("columns", (len(lines), len(self.first)), np.float32)
        self.columns.from_right(lines, out)
        return out.reshape(*image.shape[:-1], -1)


def as_floats(image: NDArray[Any]) -> Floats:
    """Return the image itself if it is float32 and contiguous, else a copy in a scratch buffer."""
    if image.dtype == np.float32 and image.flags.c_contiguous:
        return image
    copy = scratch.array("floats", image.shape, np.float32)
    np.copyto(copy, image)
    return copy
