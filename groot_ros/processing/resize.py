"""The two resamplers of the reference's image path, bit for bit, in numpy.

`area` is OpenCV's INTER_AREA: area averages when shrinking, a bilinear filter in 11-bit fixed
point when enlarging. `bicubic` is Pillow's antialiased bicubic in 22-bit fixed point.

Resampling is a banded matrix on either axis. The bands are multiplied block by block with BLAS,
on rows of interleaved channels. Where all products are integers that floats hold exactly, the
order of summation cannot matter; where it can (area averages in float32), the few pixels that
lie close to a rounding boundary are summed again in OpenCV's own order.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
CHANNELS = 3
#: Outputs per block: small blocks waste little on zeros, large ones call BLAS less often.
_BLOCK = 8
#: Distance from a rounding boundary below which float32 summation order may matter.
_CLOSE = 2e-3


@dataclass(frozen=True)
class Band:
    """One axis of a resampling: output d = sum over taps k of weights[d, k] * source[first[d] + k].

    Attributes:
        first: [out], first source index.
        weights: [out, taps], zero where a row has fewer taps.
        rows: per block (out from, out to, in from, in to, weights [out, in]).
        columns: the same with every weight repeated for the interleaved channels, transposed.

    """

    first: NDArray[np.intp]
    weights: NDArray[np.floating]
    rows: tuple[tuple[int, int, int, int, NDArray[np.floating]], ...]
    columns: tuple[tuple[int, int, int, int, NDArray[np.floating]], ...]

    @classmethod
    def of(
        cls, taps: list[tuple[int, list[float]]], source: int, kind: type[np.floating]
    ) -> "Band":
        """From (first source index, weights) of every output."""
        width = max(len(weights) for _, weights in taps)
        first = np.array([min(start, source - width) for start, _ in taps], dtype=np.intp)
        table: NDArray[np.floating] = np.zeros((len(taps), width), dtype=kind)
        for row, (start, weights) in enumerate(taps):
            shift = start - first[row]
            table[row, shift : shift + len(weights)] = weights
        rows, columns = [], []
        for begin in range(0, len(taps), _BLOCK):
            end = min(begin + _BLOCK, len(taps))
            low, high = int(first[begin:end].min()), int(first[begin:end].max()) + width
            block: NDArray[np.floating] = np.zeros((end - begin, high - low), dtype=kind)
            for row in range(begin, end):
                at = first[row] - low
                block[row - begin, at : at + width] += table[row]
            rows.append((begin, end, low, high, block))
            spread = np.kron(block.T, np.eye(CHANNELS, dtype=kind))
            columns.append(
                (CHANNELS * begin, CHANNELS * end, CHANNELS * low, CHANNELS * high, spread)
            )
        return cls(first, table, tuple(rows), tuple(columns))

    def along_rows(self, image: NDArray[np.floating]) -> NDArray[np.floating]:
        """[in, n] to [out, n]."""
        out = np.empty((len(self.first), image.shape[1]), dtype=image.dtype)
        for begin, end, low, high, block in self.rows:
            np.matmul(block, image[low:high], out=out[begin:end])
        return out

    def along_columns(self, image: NDArray[np.floating]) -> NDArray[np.floating]:
        """[n, in * channels] to [n, out * channels]."""
        out = np.empty((len(image), CHANNELS * len(self.first)), dtype=image.dtype)
        for begin, end, low, high, block in self.columns:
            np.matmul(image[:, low:high], block, out=out[:, begin:end])
        return out


def resize_area(image: Image, height: int, width: int) -> Image:
    """Uint8 [H, W, 3] to [height, width, 3] as cv2.resize(..., INTER_AREA) does."""
    h, w = image.shape[:2]
    if (h, w) == (height, width):
        return image
    # OpenCV computes both scales from the inverse scale in double precision.
    scale_y, scale_x = 1.0 / (height / h), 1.0 / (width / w)
    if scale_y < 1 or scale_x < 1:
        return _enlarge(image, height, width)
    if all(abs(scale - round(scale)) < 2.2e-16 for scale in (scale_y, scale_x)):
        return _box_mean(image, height, width, round(scale_y), round(scale_x))
    return _shrink(image, height, width)


def resize_bicubic(image: Image, height: int, width: int) -> Image:
    """Uint8 [H, W, 3] to [height, width, 3] as PIL's Image.resize does by default.

    Sums of 22-bit weights times bytes are exact in float64, so they equal Pillow's integers.
    """
    h, w = image.shape[:2]
    flat = image.reshape(h, w * CHANNELS)
    if width != w:
        flat = _fixed_point(_bicubic_band(w, width).along_columns(flat.astype(np.float64)))
    if height != h:
        flat = _fixed_point(_bicubic_band(h, height).along_rows(flat.astype(np.float64)))
    return flat.reshape(height, width, CHANNELS)


def _fixed_point(sums: NDArray[np.floating]) -> Image:
    sums += 0.5
    np.clip(sums, 0.0, 255.0, out=sums)
    return sums.astype(np.uint8)


def _box_mean(image: Image, height: int, width: int, fy: int, fx: int) -> Image:
    total = np.zeros((height, width, CHANNELS), dtype=np.int32)
    for y in range(fy):
        for x in range(fx):
            total += image[y : height * fy : fy, x : width * fx : fx]
    if (fy, fx) == (2, 2):
        return ((total + 2) >> 2).astype(np.uint8)
    mean = total.astype(np.float32) * np.float32(1.0 / (fx * fy))
    return np.clip(np.rint(mean), 0, 255).astype(np.uint8)


def _shrink(image: Image, height: int, width: int) -> Image:
    h, w = image.shape[:2]
    rows, columns = _area_band(h, height), _area_band(w, width)
    mean = columns.along_columns(rows.along_rows(image.reshape(h, w * CHANNELS).astype(np.float32)))
    rounded = np.rint(mean)
    np.subtract(mean, rounded, out=mean)
    close = np.flatnonzero(np.abs(mean, out=mean) > 0.5 - _CLOSE)
    result = rounded.astype(np.uint8)
    if len(close):
        y, flat_x = np.divmod(close, width * CHANNELS)
        result[y, flat_x] = _area_in_order(image, rows, columns, y, *np.divmod(flat_x, CHANNELS))
    return result.reshape(height, width, CHANNELS)


def _area_in_order(
    image: Image,
    rows: Band,
    columns: Band,
    y: NDArray[np.intp],
    x: NDArray[np.intp],
    channel: NDArray[np.intp],
) -> Image:
    """The pixels (y, x, channel) summed in float32 in OpenCV's order: along x, then along y."""
    total = np.zeros(len(y), dtype=np.float32)
    for j in range(rows.weights.shape[1]):
        line = np.zeros(len(y), dtype=np.float32)
        for i in range(columns.weights.shape[1]):
            source = image[rows.first[y] + j, columns.first[x] + i, channel].astype(np.float32)
            line += source * columns.weights[x, i]
        total += line * rows.weights[y, j]
    return np.clip(np.rint(total), 0, 255).astype(np.uint8)


def _enlarge(image: Image, height: int, width: int) -> Image:
    h, w = image.shape[:2]
    # Two 11-bit weights times bytes: below 2**24, exact in float32.
    flat = _bilinear_band(w, width).along_columns(image.reshape(h, w * CHANNELS).astype(np.float32))
    lines = flat.astype(np.int32) >> 4
    vertical = _bilinear_band(h, height)
    total = np.full((height, width * CHANNELS), 2, dtype=np.int32)
    for tap in range(vertical.weights.shape[1]):
        product = lines[vertical.first + tap]
        product *= vertical.weights[:, tap].astype(np.int32)[:, None]
        product >>= 16
        total += product
    total >>= 2
    return np.clip(total, 0, 255, out=total).astype(np.uint8).reshape(height, width, CHANNELS)


@lru_cache(maxsize=64)
def _area_band(source: int, target: int) -> Band:
    """Share of every source pixel in every target pixel."""
    scale = 1.0 / (target / source)
    taps = []
    for d in range(target):
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
    return Band.of(taps, source, np.float32)


@lru_cache(maxsize=64)
def _bilinear_band(source: int, target: int) -> Band:
    """OpenCV's area-phased bilinear weights, in units of 1/2048."""
    scale, inverse = 1.0 / (target / source), target / source
    taps = []
    for d in range(target):
        first = math.floor(d * scale)
        fraction = np.float32((d + 1) - (first + 1) * inverse)
        fraction = np.float32(0) if fraction <= 0 else np.float32(fraction - np.floor(fraction))
        if first < 0:
            first, fraction = 0, np.float32(0)
        if first >= source - 1:
            first, fraction = source - 1, np.float32(0)
        near = float(np.rint((np.float32(1) - fraction) * np.float32(2048)))
        far = float(np.rint(fraction * np.float32(2048)))
        taps.append((first, [near, far] if first + 1 < source else [near]))
    return Band.of(taps, source, np.float32)


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
        bits = [int(v * (1 << 22) + (0.5 if v >= 0 else -0.5)) for v in weights]
        taps.append((low, [v / (1 << 22) for v in bits]))
    return Band.of(taps, source, np.float64)


def _cubic(x: float) -> float:
    x, a = abs(x), -0.5
    if x < 1:
        return ((a + 2) * x - (a + 3)) * x * x + 1
    if x < 2:
        return (((x - 5) * x + 8) * x - 4) * a
    return 0.0
