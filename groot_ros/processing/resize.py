"""The two resamplers of the reference's image path, bit for bit, in numpy.

`resize_area` is OpenCV's INTER_AREA: area averages when shrinking, a bilinear filter in 11-bit
fixed point when enlarging. `resize_bicubic` is Pillow's antialiased bicubic in 22-bit fixed point.

Images are planar here, uint8 [3, H, W]. Resampling is a banded matrix on either axis, multiplied
block by block with BLAS in float32. BLAS sums in an order of its own, so the few pixels that lie
closer to a rounding boundary than its error are computed again, exactly as the original does.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
Floats = NDArray[np.float32]
Indexes = NDArray[np.intp]
#: Rows and columns of the target that are wanted: (top, left, height, width).
Window = tuple[int, int, int, int]

#: Outputs per block: small blocks waste little on zeros, large ones suit BLAS better.
_ROWS, _COLUMNS = 8, 16
#: Relative error of one float32 operation on a byte.
_ULP = 255 * 2.0**-24
_FIXED = 1 << 22


@dataclass(frozen=True)
class Band:
    """One axis of a resampling: output d = sum over taps k of weights[d, k] * source[first[d] + k].

    Attributes:
        first: [out], first source index.
        weights: float32 [out, taps], zero where a row has fewer taps.
        rows: per block (output slice, source slice, weights [outputs, sources]).
        columns: the same with transposed weights.

    """

    first: Indexes
    weights: Floats
    rows: tuple[tuple[slice, slice, Floats], ...]
    columns: tuple[tuple[slice, slice, Floats], ...]

    @classmethod
    def of(cls, taps: Sequence[tuple[int, Sequence[float]]], source: int) -> "Band":
        """From (first source index, weights) of every output."""
        width = max(len(weights) for _, weights in taps)
        first = np.array([min(start, source - width) for start, _ in taps], dtype=np.intp)
        table = np.zeros((len(taps), width), dtype=np.float32)
        for row, (start, weights) in enumerate(taps):
            shift = start - first[row]
            table[row, shift : shift + len(weights)] = weights
        rows = tuple(_blocks(first, table, _ROWS))
        columns = tuple(
            (outputs, sources, np.ascontiguousarray(block.T))
            for outputs, sources, block in _blocks(first, table, _COLUMNS)
        )
        return cls(first, table, rows, columns)

    @property
    def taps(self) -> int:
        """Most source pixels that any output sees."""
        return self.weights.shape[1]

    def along_rows(self, image: Floats) -> Floats:
        """[3, in, n] to [3, out, n]."""
        out = np.empty((image.shape[0], len(self.first), image.shape[2]), dtype=np.float32)
        for outputs, sources, block in self.rows:
            np.matmul(block, image[:, sources], out=out[:, outputs])
        return out

    def along_columns(self, image: Floats) -> Floats:
        """[3, n, in] to [3, n, out]."""
        lines = image.reshape(-1, image.shape[2])
        out = np.empty((len(lines), len(self.first)), dtype=np.float32)
        for outputs, sources, block in self.columns:
            np.matmul(lines[:, sources], block, out=out[:, outputs])
        return out.reshape(*image.shape[:2], -1)


def _blocks(first: Indexes, table: Floats, size: int) -> Iterator[tuple[slice, slice, Floats]]:
    """Dense pieces of the band, `size` outputs each."""
    for begin in range(0, len(first), size):
        outputs = slice(begin, min(begin + size, len(first)))
        low, high = int(first[outputs].min()), int(first[outputs].max()) + table.shape[1]
        block = np.zeros((outputs.stop - begin, high - low), dtype=np.float32)
        for row, at in enumerate(first[outputs] - low):
            block[row, at : at + table.shape[1]] = table[begin + row]
        yield outputs, slice(low, high), block


def to_planar(image: Image) -> Image:
    """[H, W, 3] to [3, H, W]."""
    return np.ascontiguousarray(image.transpose(2, 0, 1))


def resize_area(image: Image, height: int, width: int, window: Window | None = None) -> Image:
    """Uint8 [3, H, W] to the window (all if None) of [3, height, width], as cv2's INTER_AREA."""
    h, w = image.shape[1:]
    top, left, rows, columns = (0, 0, height, width) if window is None else window
    # OpenCV computes both scales from the inverse scale in double precision.
    scale_y, scale_x = 1.0 / (height / h), 1.0 / (width / w)
    whole = all(abs(scale - round(scale)) < 2.2e-16 for scale in (scale_y, scale_x))
    if scale_y >= 1 and scale_x >= 1 and not whole:
        return _shrink(
            image,
            _area_band(h, height, top, top + rows),
            _area_band(w, width, left, left + columns),
        )
    if (h, w) == (height, width):
        resized = image
    elif scale_y >= 1 and scale_x >= 1:
        resized = _box_mean(image, height, width, round(scale_y), round(scale_x))
    else:
        resized = _enlarge(image, _bilinear_band(h, height), _bilinear_band(w, width))
    return resized[:, top : top + rows, left : left + columns]


def resize_bicubic(image: Image, height: int, width: int) -> Image:
    """Uint8 [3, H, W] to [3, height, width] as PIL's Image.resize does by default.

    Every pass rounds to bytes, so their order matters. Pillow 13 begins with the rows where it
    drops more than twice as many of them as of columns (found by trying 3704 sizes); Pillow up to
    12 always begins with the columns.
    """
    dropped_rows, dropped_columns = image.shape[1] - height, image.shape[2] - width
    if dropped_rows > 0 and dropped_rows > 2 * dropped_columns:
        return _bicubic_columns(_bicubic_rows(image, height), width)
    return _bicubic_rows(_bicubic_columns(image, width), height)


def _bicubic_columns(image: Image, width: int) -> Image:
    if width == image.shape[2]:
        return image
    band = _bicubic_band(image.shape[2], width)
    exact = _bicubic_exactly(image, band, along_rows=False)
    return _rounded(band.along_columns(image.astype(np.float32)), band.taps, exact)


def _bicubic_rows(image: Image, height: int) -> Image:
    if height == image.shape[1]:
        return image
    band = _bicubic_band(image.shape[1], height)
    exact = _bicubic_exactly(image, band, along_rows=True)
    return _rounded(band.along_rows(image.astype(np.float32)), band.taps, exact)


def _rounded(sums: Floats, taps: int, exactly: Callable[[Indexes], Image]) -> Image:
    """Round to bytes; `exactly` gives the pixels (flat indexes) where float32 cannot decide."""
    error = np.float32(2 * (taps + 4) * _ULP)
    np.clip(sums, 0.0, 255.0, out=sums)
    sums += np.float32(0.5) - error
    low = sums.astype(np.uint8)
    sums += 2 * error
    undecided = np.flatnonzero(low != sums.astype(np.uint8))
    if len(undecided):
        low.reshape(-1)[undecided] = exactly(undecided)
    return low


def _bicubic_exactly(image: Image, band: Band, along_rows: bool) -> Callable[[Indexes], Image]:
    """Pillow's own integer sums."""

    def compute(flat: Indexes) -> Image:
        shape = list(image.shape)
        shape[1 if along_rows else 2] = len(band.first)
        plane, y, x = np.unravel_index(flat, shape)
        target = y if along_rows else x
        total = np.full(len(flat), _FIXED >> 1, dtype=np.int64)
        for tap in range(band.taps):
            weight = (band.weights[target, tap] * np.float32(_FIXED)).astype(np.int64)
            source = band.first[target] + tap
            index = (plane, source, x) if along_rows else (plane, y, source)
            total += weight * image[index]
        return np.clip(total >> 22, 0, 255).astype(np.uint8)

    return compute


def _box_mean(image: Image, height: int, width: int, fy: int, fx: int) -> Image:
    total = np.zeros((3, height, width), dtype=np.int32)
    for y in range(fy):
        for x in range(fx):
            total += image[:, y : height * fy : fy, x : width * fx : fx]
    if (fy, fx) == (2, 2):
        return ((total + 2) >> 2).astype(np.uint8)
    mean = total.astype(np.float32) * np.float32(1.0 / (fx * fy))
    return np.clip(np.rint(mean), 0, 255).astype(np.uint8)


def _shrink(image: Image, rows: Band, columns: Band) -> Image:
    shape = (3, len(rows.first), len(columns.first))

    def in_order(flat: Indexes) -> Image:
        """Summed in float32 in OpenCV's order: along x, then along y."""
        plane, y, x = np.unravel_index(flat, shape)
        total = np.zeros(len(flat), dtype=np.float32)
        for j in range(rows.taps):
            line = np.zeros(len(flat), dtype=np.float32)
            for i in range(columns.taps):
                source = image[plane, rows.first[y] + j, columns.first[x] + i]
                line += source.astype(np.float32) * columns.weights[x, i]
            total += line * rows.weights[y, j]
        return np.clip(np.rint(total), 0, 255).astype(np.uint8)

    sums = columns.along_columns(rows.along_rows(image.astype(np.float32)))
    return _rounded(sums, rows.taps + columns.taps, in_order)


def _enlarge(image: Image, rows: Band, columns: Band) -> Image:
    # 11-bit weights times bytes stay below 2**24, where float32 is exact in any order.
    lines = columns.along_columns(image.astype(np.float32)).astype(np.uint32)
    lines >>= 4
    total = np.full((3, len(rows.first), lines.shape[2]), 2, dtype=np.uint16)
    for tap in range(rows.taps):
        product = np.take(lines, rows.first + tap, axis=1, mode="clip")
        product *= rows.weights[:, tap, None].astype(np.uint32)
        product >>= 16
        total += product.astype(np.uint16)
    total >>= 2
    return total.astype(np.uint8)


@lru_cache(maxsize=64)
def _area_band(source: int, target: int, begin: int, end: int) -> Band:
    """Share of every source pixel in the target pixels from begin to end."""
    scale = 1.0 / (target / source)
    taps = []
    for d in range(begin, end):
        left = d * scale
        right = left + scale
        cell = min(scale, source - left)
        last = min(math.floor(right), source - 1)
        first = min(math.ceil(left), last)
        weights = [1.0 / cell] * (last - first)
        start = first
        if first - left > 1e-3:
            start = first - 1
            weights.insert(0, (first - left) / cell)
        if right - last > 1e-3:
            weights.append(min(min(right - last, 1.0), cell) / cell)
        taps.append((start, weights))
    return Band.of(taps, source)


@lru_cache(maxsize=64)
def _bilinear_band(source: int, target: int) -> Band:
    """OpenCV's area-phased bilinear weights, in units of 1/2048."""
    scale, inverse = 1.0 / (target / source), target / source
    taps = []
    for d in range(target):
        first = math.floor(d * scale)
        fraction = np.float32((d + 1) - (first + 1) * inverse)
        fraction = np.float32(0) if fraction <= 0 else np.float32(fraction - np.floor(fraction))
        if first >= source - 1:
            first, fraction = source - 1, np.float32(0)
        near = float(np.rint((np.float32(1) - fraction) * np.float32(2048)))
        far = float(np.rint(fraction * np.float32(2048)))
        taps.append((first, [near, far] if first + 1 < source else [near]))
    return Band.of(taps, source)


@lru_cache(maxsize=64)
def _bicubic_band(source: int, target: int) -> Band:
    """Pillow's weights (a = -0.5, support widened when shrinking), rounded to 22 bits."""
    scale = source / target
    widen = max(scale, 1.0)
    support = 2.0 * widen
    taps = []
    for d in range(target):
        centre = (d + 0.5) * scale
        low, high = max(int(centre - support + 0.5), 0), min(int(centre + support + 0.5), source)
        weights = np.array([_cubic((k + low - centre + 0.5) / widen) for k in range(high - low)])
        if weights.sum() != 0:
            weights = weights / weights.sum()
        bits = [int(v * _FIXED + (0.5 if v >= 0 else -0.5)) for v in weights]
        taps.append((low, [v / _FIXED for v in bits]))
    return Band.of(taps, source)


def _cubic(x: float) -> float:
    x, a = abs(x), -0.5
    if x < 1:
        return ((a + 2) * x - (a + 3)) * x * x + 1
    if x < 2:
        return (((x - 5) * x + 8) * x - 4) * a
    return 0.0
