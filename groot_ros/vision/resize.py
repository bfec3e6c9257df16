# SPDX-License-Identifier: Apache-2.0
"""Resize images as the reference's image path does, bit for bit, in numpy.

Why the project implements its own resamplers: a checkpoint was trained on images that the vendor's
processor resized with OpenCV (albumentations, INTER_AREA) and then with Pillow (bicubic), and the
model's inputs equal the vendor's only if every pixel is the same integer on every robot. Installed
libraries do not give that: Pillow 13 orders its two passes differently from Pillow 12, which
changes single grey levels (see `resize_bicubic`), and OpenCV is not a dependency of this package.
`resize_area` reproduces OpenCV 4.11's INTER_AREA: area averages when shrinking, a bilinear filter
in 11-bit fixed point when enlarging. `resize_bicubic` reproduces Pillow 13's antialiased bicubic in
22-bit fixed point. docs/reference/models.md describes how equality was checked.

Images are planar here, [3, H, W]: bytes, or whole numbers in float32 between two passes; a camera's
frame is a view. Each axis is a banded matrix (`resample_banded.py`) in float32. BLAS does not
specify the order of its sums, so the few pixels that lie closer to a rounding boundary than its
error are computed again exactly as the original does.
"""

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from groot_ros.vision.resample_banded import (
    BandedMatrix,
    Floats,
    Indexes,
    as_floats,
    scratch,
)

Image = NDArray[np.uint8]
#: Part of the target to compute: (top, left, height, width).
Window = tuple[int, int, int, int]

#: Relative error of one float32 operation on a byte.
_ULP = 255 * 2.0**-24
_FIXED = 1 << 22


def to_planar(image: Image) -> Image:
    """Return an image [H, W, 3] as [3, H, W], a view."""
    return image.transpose(2, 0, 1)


def resize_area(
    image: NDArray[Any], height: int, width: int, window: Window | None = None
) -> NDArray[Any]:
    """Resize [3, H, W] to [3, height, width] as OpenCV's INTER_AREA, and return the window of it.

    Args:
        image: bytes, or whole numbers in float32.
        height: height of the whole target.
        width: width of the whole target.
        window: part of the target to compute; all of it if None.

    Returns:
        A scratch buffer, a new array, or the image itself where the size stays the same.

    """
    h, w = image.shape[1:]
    top, left, rows, columns = (0, 0, height, width) if window is None else window
    # OpenCV computes both scales from the inverse scale in double precision.
    scale_y, scale_x = 1.0 / (height / h), 1.0 / (width / w)
    whole = all(abs(scale - round(scale)) < 2.2e-16 for scale in (scale_y, scale_x))
    if scale_y >= 1 and scale_x >= 1 and not whole:
        source_rows, row_matrix = _area_band(h, height, top, top + rows)
        source_columns, column_matrix = _area_band(w, width, left, left + columns)
        return _shrink(image[:, source_rows, source_columns], row_matrix, column_matrix)
    if (h, w) == (height, width):
        resized = image
    elif scale_y >= 1 and scale_x >= 1:
        resized = _box_mean(image, height, width, round(scale_y), round(scale_x))
    else:
        resized = _enlarge(image, height, width)
    return resized[:, top : top + rows, left : left + columns]


def resize_bicubic(image: NDArray[Any], height: int, width: int) -> NDArray[Any]:
    """Resize [3, H, W] to [3, height, width] as PIL's Image.resize does by default.

    Every pass rounds to whole numbers, so their order matters. Pillow 13 begins with the rows if
    it removes more than twice as many rows as columns (found by trying 3704 sizes); Pillow up to
    12 always begins with the columns.

    Returns:
        A scratch buffer, or the image itself where the size stays the same.

    """
    dropped_rows, dropped_columns = image.shape[1] - height, image.shape[2] - width
    if dropped_rows > 0 and dropped_rows > 2 * dropped_columns:
        return _bicubic_columns(_bicubic_rows(image, height), width)
    return _bicubic_rows(_bicubic_columns(image, width), height)


def _bicubic_columns(image: NDArray[Any], width: int) -> NDArray[Any]:
    if width == image.shape[2]:
        return image
    band = _bicubic_band(image.shape[2], width)

    def compute_exact(flat: Indexes) -> NDArray[np.int64]:
        line, x = np.divmod(flat, width)
        return _bicubic_sums(image, band, x, line * image.shape[2] + band.first[x], 1)

    sums = band.along_columns(image)
    return _rounded(
        "bicubic columns", np.clip(sums, 0.0, 255.0, out=sums), band.taps, compute_exact
    )


def _bicubic_rows(image: NDArray[Any], height: int) -> NDArray[Any]:
    if height == image.shape[1]:
        return image
    band = _bicubic_band(image.shape[1], height)

    def compute_exact(flat: Indexes) -> NDArray[np.int64]:
        line, x = np.divmod(flat, image.shape[2])
        plane, y = np.divmod(line, height)
        start = (plane * image.shape[1] + band.first[y]) * image.shape[2] + x
        return _bicubic_sums(image, band, y, start, image.shape[2])

    sums = band.along_rows(image)
    return _rounded("bicubic rows", np.clip(sums, 0.0, 255.0, out=sums), band.taps, compute_exact)


def _bicubic_sums(
    image: NDArray[Any], band: BandedMatrix, outputs: Indexes, start: Indexes, step: int
) -> NDArray[np.int64]:
    """Compute Pillow's integer sums over pixels `step` apart (flat indexes), rounded."""
    pixels = image.take(start[:, None] + np.arange(0, step * band.taps, step))
    # Below 2**53, where float64 is exact in any order.
    weights = np.multiply(band.weights.take(outputs, axis=0), _FIXED, dtype=np.float64)
    sums = (weights * pixels).sum(axis=1).astype(np.int64)
    sums += _FIXED >> 1
    sums >>= 22
    return np.minimum(np.maximum(sums, 0, out=sums), 255, out=sums)


def _rounded(
    name: str, sums: Floats, taps: int, compute_exact: Callable[[Indexes], NDArray[Any]]
) -> Floats:
    """Round sums from 0 to 255, which are overwritten, into the scratch buffer of this name.

    `compute_exact` returns the pixels (flat indexes) that float32 cannot decide: a sum of n
    products has an error of at most n roundings, and so may the original's sum.
    """
    rounded = np.rint(sums, out=scratch.array(name, sums.shape, np.float32))
    sums -= rounded
    unsure = scratch.array("unsure", sums.shape, np.bool_)
    np.greater(np.abs(sums, out=sums), np.float32(0.5 - (2 * taps + 2) * _ULP), out=unsure)
    undecided = np.flatnonzero(unsure)
    if len(undecided):
        rounded.reshape(-1)[undecided] = compute_exact(undecided)
    return rounded


def _box_mean(image: NDArray[Any], height: int, width: int, fy: int, fx: int) -> Image:
    total = np.zeros((3, height, width), dtype=np.int32)
    for y in range(fy):
        for x in range(fx):
            total += image[:, y : height * fy : fy, x : width * fx : fx].astype(np.int32)
    if (fy, fx) == (2, 2):
        return ((total + 2) >> 2).astype(np.uint8)
    mean = total.astype(np.float32) * np.float32(1.0 / (fx * fy))
    return np.clip(np.rint(mean), 0, 255).astype(np.uint8)


def _shrink(image: NDArray[Any], rows: BandedMatrix, columns: BandedMatrix) -> Floats:
    shape = (3, len(rows.first), len(columns.first))

    def in_order(flat: Indexes) -> Floats:
        """Compute the sums in float32 in OpenCV's order: along x, then along y."""
        plane, y, x = (index[:, None] for index in np.unravel_index(flat, shape))
        down = rows.first[y] + np.arange(rows.taps)
        total = np.zeros(len(flat), dtype=np.float32)
        lines = np.zeros(down.shape, dtype=np.float32)
        for tap in range(columns.taps):
            lines += image[plane, down, columns.first[x] + tap] * columns.weights[x, tap]
        for tap in range(rows.taps):
            total += lines[:, tap] * rows.weights[y[:, 0], tap]
        return np.clip(np.rint(total), 0, 255)

    # The colours of a pixel stay together, as in a camera's frame, until fewer rows are left.
    height, width = image.shape[1:]
    frame = as_floats(image.transpose(1, 2, 0)).reshape(height, -1)
    lines = rows.along_rows(frame).reshape(-1, width, 3).transpose(2, 0, 1)
    return _rounded("area", columns.along_columns(lines), rows.taps + columns.taps, in_order)


def _enlarge(image: NDArray[Any], height: int, width: int) -> Floats:
    # Weights are units of 1/2048: times bytes they stay below 2**24, where float32 is exact in any
    # order. Along the columns they are units of 1/128, which cuts the sums' lowest four bits.
    columns = _bilinear_band(image.shape[2], width, 128)
    first, weights = _bilinear_rows(image.shape[1], height, width)
    sums = columns.along_columns(image)
    lines = scratch.array("lines", sums.shape, np.int32)
    np.copyto(lines, sums, casting="unsafe")
    enlarged = scratch.array("enlarged", (len(image), height, width), np.float32)
    near, far = scratch.array("taps", (2, height, width), np.int32)
    for plane, out in zip(lines, enlarged, strict=True):
        np.take(plane, first, axis=0, out=near, mode="clip")
        near *= weights[0]
        # Either product is cut to its upper 16 bits before they are added.
        near &= -1 << 16
        np.take(plane, first + 1, axis=0, out=far, mode="clip")
        far *= weights[1]
        far += near
        far += 1 << 17
        far >>= 18
        out[...] = far
    return enlarged


@lru_cache(maxsize=64)
def _area_band(source: int, target: int, begin: int, end: int) -> tuple[slice, BandedMatrix]:
    """Return the source pixels of the target's pixels from begin to end, and their weights."""
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
    low = min(start for start, _ in taps)
    high = max(start + len(weights) for start, weights in taps)
    return slice(low, high), BandedMatrix.of(
        [(at - low, weights) for at, weights in taps], high - low
    )


@lru_cache(maxsize=64)
def _bilinear_band(source: int, target: int, unit: int) -> BandedMatrix:
    """Return OpenCV's area-phased bilinear weights, rounded to 1/2048, in units of 1/`unit`."""
    scale, inverse = 1.0 / (target / source), target / source
    taps = []
    for d in range(target):
        first = math.floor(d * scale)
        fraction = np.float32((d + 1) - (first + 1) * inverse)
        fraction = np.float32(0) if fraction <= 0 else np.float32(fraction - np.floor(fraction))
        if first >= source - 1:
            first, fraction = source - 1, np.float32(0)
        near = float(np.rint((np.float32(1) - fraction) * np.float32(2048))) * unit / 2048
        far = float(np.rint(fraction * np.float32(2048))) * unit / 2048
        taps.append((first, [near, far] if first + 1 < source else [near]))
    return BandedMatrix.of(taps, source)


@lru_cache(maxsize=16)
def _bilinear_rows(source: int, target: int, width: int) -> tuple[Indexes, NDArray[np.int32]]:
    """Return the first of two source rows per row, and weights [2, target, width] in 1/2048."""
    band = _bilinear_band(source, target, 2048)
    weights = np.zeros((2, target, width), dtype=np.int32)
    weights[: band.taps] = band.weights.T[:, :, None]
    return band.first, weights


@lru_cache(maxsize=64)
def _bicubic_band(source: int, target: int) -> BandedMatrix:
    """Return Pillow's weights (a = -0.5, support widened when shrinking), rounded to 22 bits."""
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
    return BandedMatrix.of(taps, source)


def _cubic(x: float) -> float:
    x, a = abs(x), -0.5
    if x < 1:
        return ((a + 2) * x - (a + 3)) * x * x + 1
    if x < 2:
        return (((x - 5) * x + 8) * x - 4) * a
    return 0.0
