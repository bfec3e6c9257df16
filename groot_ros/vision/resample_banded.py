"""Banded matrices along the rows and columns of an image, multiplied in blocks with BLAS.

Results are scratch: the next product along the same axis overwrites them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from groot_ros.vision.scratch import Scratch

Floats = NDArray[np.float32]
Indexes = NDArray[np.intp]

#: Outputs per block, as quick as any (measured with OpenBLAS): the least work wins along the rows.
_ROWS, _COLUMNS = (4, 6, 8), 16
scratch = Scratch()


@dataclass(frozen=True)
class Blocks:
    """A band in dense pieces; those of equal size and spacing are multiplied in one call.

    Attributes:
        weights: float32 [blocks, outputs, sources].
        transposed: the same as [blocks, sources, outputs], contiguous.
        begin: first output of the first block.
        start: its first source.
        stride: sources from one block to the next.
        rest: (outputs, sources, weights [outputs, sources]) that no block holds.

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
        """`size` outputs each, and sources in a `multiple`."""
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
        """[..., in, n] to [..., out, n]; both contiguous."""
        count, size, sources = self.weights.shape
        *planes, _, width = image.shape
        *strides, down, across = image.strides
        windows = _laid_over(
            image,
            self.start * down,
            (*planes, count, sources, width),
            (*strides, down * self.stride, down, across),
        )
        *strides, down, across = out.strides
        pieces = _laid_over(
            out,
            self.begin * down,
            (*planes, count, size, width),
            (*strides, down * size, down, across),
        )
        np.matmul(self.weights, windows, out=pieces)
        for outputs, seen, weights in self.rest:
            np.matmul(weights, image[..., seen, :], out=out[..., outputs, :])

    def from_right(self, image: Floats, out: Floats) -> None:
        """[n, in] to [n, out]; both contiguous."""
        count, size, sources = self.weights.shape
        down, across = image.strides
        windows = _laid_over(
            image,
            self.start * across,
            (count, len(image), sources),
            (across * self.stride, down, across),
        )
        down, across = out.strides
        pieces = _laid_over(
            out, self.begin * across, (count, len(image), size), (across * size, down, across)
        )
        np.matmul(windows, self.transposed, out=pieces)
        for outputs, seen, weights in self.rest:
            np.matmul(image[:, seen], weights.T, out=out[:, outputs])


def _laid_over(
    array: Floats, offset: int, shape: tuple[int, ...], strides: tuple[int, ...]
) -> Floats:
    """A view from `offset` bytes on. As numpy's as_strided, which takes five times as long."""
    if 0 in shape:
        return np.empty(shape, np.float32)
    return np.ndarray(shape, np.float32, array, offset, strides)


def _dense(first: Indexes, table: Floats, begin: int, stop: int) -> tuple[slice, slice, Floats]:
    """The outputs from begin to stop in one piece."""
    low, taps = int(first[begin:stop].min()), table.shape[1]
    sources = int(first[begin:stop].max()) + taps - low
    weights = np.zeros((stop - begin, sources), dtype=np.float32)
    for row, at in enumerate(first[begin:stop] - low):
        weights[row, at : at + taps] = table[begin + row]
    return slice(begin, stop), slice(low, low + sources), weights


@dataclass(frozen=True)
class Band:
    """One axis of a resampling: output d = sum over taps k of weights[d, k] * source[first[d] + k].

    Attributes:
        first: [out], first source index.
        weights: float32 [out, taps], zero where a row has fewer taps.
        rows, columns: the same in blocks, for either axis.

    """

    first: Indexes
    weights: Floats
    rows: Blocks
    columns: Blocks

    @classmethod
    def of(cls, taps: Sequence[tuple[int, Sequence[float]]], source: int) -> "Band":
        """From (first source index, weights) of every output."""
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
        """Most source pixels that any output sees."""
        return self.weights.shape[1]

    def along_rows(self, image: NDArray[Any]) -> Floats:
        """[..., in, n] to [..., out, n]; the result is scratch."""
        shape = (*image.shape[:-2], len(self.first), image.shape[-1])
        out = scratch.array("rows", shape, np.float32)
        self.rows.from_left(floats(image), out)
        return out

    def along_columns(self, image: NDArray[Any]) -> Floats:
        """[..., in] to [..., out]; the result is scratch."""
        lines = floats(image).reshape(-1, image.shape[-1])
        out = scratch.array("columns", (len(lines), len(self.first)), np.float32)
        self.columns.from_right(lines, out)
        return out.reshape(*image.shape[:-1], -1)


def floats(image: NDArray[Any]) -> Floats:
    """The image itself if it is float32 and contiguous, else a copy in scratch."""
    if image.dtype == np.float32 and image.flags.c_contiguous:
        return image
    floats = scratch.array("floats", image.shape, np.float32)
    np.copyto(floats, image)
    return floats
