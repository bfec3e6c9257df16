# SPDX-License-Identifier: Apache-2.0
"""Shift of the background between two pictures of a camera, whatever the arm in them does.

Blocks of the reference are searched in the current picture by correlating the *directions* of their
gradients, a phase that neither brightness nor contrast changes. Each block votes for the shifts at
which it fits. A corner votes for one shift and an edge for a line of them; what the arm, its shadow
or a moved object covers votes for something else or for nothing. The shift with the most votes is
the background's. A small turn about the optical axis, a zoom and the perspective of a turned camera
are fitted to the blocks that agree.

The FFTs are numpy's: a library of computer vision would be a large dependency for one comparison
at the start of a run.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from groot_ros.core.invariants import require

Floats = NDArray[np.float64]
#: Directions of gradients: complex [H, W], of magnitude 0 (no edge) to almost 1.
Directions = NDArray[np.complex128]

#: Smallest width and height of a picture that is compared, px.
MIN_SIDE = 112
#: Fewer agreeing blocks, or a smaller share of all blocks with edges, do not tell a shift.
MIN_AGREEING, MIN_SHARE = 8, 0.12
#: With so many turns tried, more must agree than for a shift.
_TURNED_SHARE = 0.3
#: Pictures are reduced by a whole number to about this width, px.
_WIDTH = 640
#: Side of a block, distance between blocks, and how far one is searched from a guess, px.
_BLOCK, _STRIDE, _REACH = 64, 48, 16
#: A block has edges if the squared directions of its pixels add up to this.
_MIN_EDGES = 40.0
#: Gradient at which an edge counts half, in percent of the mean brightness per px: above the noise.
_WEAK_GRADIENT = 3.0
#: Reduction of the pictures for the first guesses, and their number.
_COARSE, _GUESSES = 4, 4
#: Correlation from which a block votes, and from which it agrees.
_VOTES_FROM, _AGREES_FROM = 0.4, 0.6
#: An agreeing block fits nowhere else much better than this share of its best correlation.
_NEAR_BEST = 0.85
#: The votes for the next best shift, or for one nearby in any direction, at most, as a share.
_MAX_RIVAL, _MAX_RIDGE = 0.75, 0.93
#: Distances from the best shift, px: within the first it is the same; at the second is the ridge.
_SAME, _RIDGE = 6, 4
#: The agreeing blocks extend over at least this share of the width and of the height.
_MIN_EXTENT = 0.3
#: Rotations in degrees and zooms that are tried if no shift is found, and how many are looked into.
_ROTATIONS, _ZOOMS, _TURNS = (
    (-10, -7.5, -5, -2.5, 0, 2.5, 5, 7.5, 10),
    (-0.06, -0.03, 0, 0.03, 0.06),
    3,
)
#: Focal lengths in widths that are tried if it is not known, from a telephoto to a wide angle lens.
_FOCAL_LENGTHS = (math.inf, 1.2, 0.8, 0.55, 0.4)


@dataclass(frozen=True)
class Shift:
    """Motion of the contents of a picture since the reference.

    Attributes:
        dx: px to the right in the middle of the picture; NaN if it is not known.
        dy: px downwards.
        rotation: turn of the contents about the optical axis, rad, clockwise.
        zoom: relative change of the size of the contents, 0.01 = 1 % larger.
        corner: px by which rotation and zoom move a corner of the picture.
        blocks: blocks with edges in the reference.
        agreeing: blocks that fit this shift; the arm hides others.
        reason: why the shift is not known; empty if it is.

    """

    dx: float = math.nan
    dy: float = math.nan
    rotation: float = 0.0
    zoom: float = 0.0
    corner: float = 0.0
    blocks: int = 0
    agreeing: int = 0
    reason: str = ""

    @property
    def length(self) -> float:
        """Length of the shift in the middle of the picture, px."""
        return math.hypot(self.dx, self.dy)


def count_blocks(picture: NDArray[np.uint8]) -> int:
    """Return the number of blocks with edges in a picture, uint8 RGB [H, W, 3]."""
    if min(picture.shape[:2]) < MIN_SIDE:
        return 0
    grey = _reduced(_grey(picture), _reduction(picture.shape[1]))
    return sum(1 for _ in _textured_blocks(_directions(grey)))


def measure_shift(
    reference: NDArray[np.uint8], current: NDArray[np.uint8], focal_length: float = 0.0
) -> Shift:
    """Measure the shift of the background between two pictures of the same size.

    Args:
        reference: uint8 RGB [H, W, 3].
        current: uint8 RGB [H, W, 3].
        focal_length: px; 0 = not known.

    Raises:
        MalformedError: different_sizes.

    """
    sizes = [f"{p.shape[1]} x {p.shape[0]}" for p in (current, reference)]
    require(
        current.shape == reference.shape,
        "different_sizes",
        f"the picture has {sizes[0]} pixels, the reference {sizes[1]}",
    )
    height, width = reference.shape[:2]
    if min(height, width) < MIN_SIDE:
        return Shift(reason=f"{width} x {height} pixels are too few")
    factor = _reduction(width)
    before, now = (_reduced(_grey(p), factor) for p in (reference, current))
    focal_length /= factor
    found = _compare(before, now, focal_length)
    if found.reason and min(found.blocks, count_blocks(current)) >= MIN_AGREEING:
        for rotation, zoom in _turns(before, now):
            again = _compare(before, _turned(now, rotation, zoom), focal_length)
            if not again.reason and again.agreeing >= _TURNED_SHARE * again.blocks:
                found = _after_turn(again, rotation, zoom)
                break
    corner = math.hypot(found.rotation, found.zoom) * math.hypot(width, height) / 2
    return replace(found, dx=factor * found.dx, dy=factor * found.dy, corner=corner)


def _compare(before: Floats, now: Floats, focal_length: float) -> Shift:
    """Measure the shift between two grey pictures, [H, W]; see measure_shift()."""
    reference, current = _directions(before), _directions(now)
    total = sum(1 for _ in _textured_blocks(reference))
    if total < MIN_AGREEING:
        return Shift(blocks=total, reason=f"only {total} parts of the reference have edges")
    visible = sum(1 for _ in _textured_blocks(current))
    if visible < MIN_AGREEING:
        reason = f"only {visible} parts of the picture have edges: is the camera covered?"
        return Shift(blocks=total, reason=reason)
    surface = _coarse_correlation(before, now)
    guesses = [*_guesses(surface)]
    if not any(_distance(guess, (0, 0)) < _REACH / 2 for guess in guesses):
        guesses.append((0, 0))
    searched = [_Votes.collect(reference, current, guess) for guess in guesses]
    votes = [v for v in searched if v is not None]
    best = max(votes, key=lambda v: v.strength, default=None)
    if best is None:
        return Shift(blocks=total, reason="no part of the reference is in the picture")
    # Again with the shift in the middle of the surfaces: it may lie at their border.
    best = _Votes.collect(reference, current, best.shift) or best
    fit = best.fit(reference.shape, focal_length)
    agreeing = int(fit.agrees.sum())
    if reason := _doubt(best, votes, fit, total, reference.shape):
        return Shift(blocks=total, agreeing=agreeing, reason=reason)
    dx, dy, rotation, zoom = (float(p) for p in fit.parameters)
    return Shift(dx, dy, rotation, zoom, blocks=total, agreeing=agreeing)


def _doubt(
    best: "_Votes", votes: "list[_Votes]", fit: "_Fit", total: int, shape: tuple[int, ...]
) -> str:
    """Return why the shift with the most votes may not be the background's, or ""."""
    agreeing = int(fit.agrees.sum())
    if agreeing < max(MIN_AGREEING, MIN_SHARE * total):
        return f"only {agreeing} of {total} parts of the picture agree about a shift"
    if best.ridge > _MAX_RIDGE * best.strength:
        return "its edges run in one direction only"
    others = [v.strength for v in votes if _distance(v.shift, best.shift) > _SAME]
    if max([best.rival, *others]) > _MAX_RIVAL * best.strength:
        return "two shifts explain the picture equally well"
    extent = np.ptp(best.centres[fit.agrees], axis=0) + _BLOCK
    if (extent < _MIN_EXTENT * np.array(shape[::-1])).any():
        return "only a small region of the picture agrees about a shift"
    return ""


def _distance(one: tuple[int, int], other: tuple[int, int]) -> float:
    return math.hypot(one[0] - other[0], one[1] - other[1])


def _grey(picture: NDArray[np.uint8]) -> Floats:
    weights = np.array([0.299, 0.587, 0.114])
    grey: Floats = picture.astype(np.float64) @ weights
    return grey


def _reduction(width: int) -> int:
    return max(1, round(width / _WIDTH))


def _reduced(picture: Floats, factor: int) -> Floats:
    """Return the means of squares of factor x factor pixels."""
    height, width = (side // factor * factor for side in picture.shape)
    squares = picture[:height, :width].reshape(height // factor, factor, width // factor, factor)
    means: Floats = squares.mean(axis=(1, 3))
    return means


def _directions(grey: Floats) -> Directions:
    """Return the directions of the gradients, smoothed against noise; 0 where there is no edge."""
    smooth = grey * (100.0 / max(float(grey.mean()), 1.0))
    for axis in (0, 1, 0, 1):
        ends = [(1, 1) if each == axis else (0, 0) for each in (0, 1)]
        padded = np.moveaxis(np.pad(smooth, ends, mode="edge"), axis, 0)
        smooth = np.moveaxis((padded[:-2] + padded[1:-1] + padded[2:]) / 3, 0, axis)
    down, right = np.gradient(smooth)
    gradient = right + 1j * down
    directions: Directions = gradient / (np.abs(gradient) + _WEAK_GRADIENT)
    return directions


def _coarse_correlation(before: Floats, now: Floats) -> Floats:
    """Correlate two grey pictures, reduced by _COARSE, at shifts of up to half of each side.

    Returns:
        [2 * rows + 1, 2 * columns + 1], with no shift in the middle.

    """
    reference, current = (_directions(_reduced(p, _COARSE)) for p in (before, now))
    height, width = reference.shape
    size = (2 * height, 2 * width)
    strengths = [np.abs(field) ** 2 for field in (reference, current)]
    arrays = [reference, current, *strengths, np.ones_like(strengths[0])]
    ours, theirs, our_strength, their_strength, ones = (np.fft.fft2(a, size) for a in arrays)
    overlaps = [np.fft.ifft2(np.conj(our_strength) * ones).real]
    overlaps += [np.fft.ifft2(np.conj(ones) * their_strength).real]
    # The last term keeps a small overlap at the border from winning by chance.
    scale = np.sqrt(np.maximum(overlaps[0], 0) * np.maximum(overlaps[1], 0))
    scale += 0.1 * math.sqrt(strengths[0].sum() * strengths[1].sum()) + 1e-9
    surface = np.fft.fftshift(np.fft.ifft2(np.conj(ours) * theirs).real / scale)
    rows, columns = height // 2, width // 2
    return surface[height - rows : height + rows + 1, width - columns : width + columns + 1]


def _guesses(surface: Floats) -> Iterator[tuple[int, int]]:
    """Yield the shifts (x, y), px, of the highest peaks of a coarse correlation."""
    surface = surface.copy()
    rows, columns = (side // 2 for side in surface.shape)
    near = _REACH // _COARSE
    for _ in range(_GUESSES):
        row, column = (int(i) for i in np.unravel_index(np.argmax(surface), surface.shape))
        yield _COARSE * (column - columns), _COARSE * (row - rows)
        surface[max(0, row - near) : row + near + 1, max(0, column - near) : column + near + 1] = -1


def _turns(before: Floats, now: Floats) -> list[tuple[float, float]]:
    """Return the (rotation, zoom) of the contents with which the pictures correlate best."""

    def peak(turn: tuple[float, float]) -> float:
        return float(_coarse_correlation(before, _turned(now, *turn)).max())

    turns = [(math.radians(angle), zoom) for angle in _ROTATIONS for zoom in _ZOOMS]
    return sorted(turns, key=peak, reverse=True)[:_TURNS]


def _turned(grey: Floats, rotation: float, zoom: float) -> Floats:
    """Undo a rotation and zoom of the contents about the middle of a picture."""
    height, width = grey.shape
    x, y = (width - 1) / 2, (height - 1) / 2
    c, s = (1 + zoom) * math.cos(rotation), (1 + zoom) * math.sin(rotation)
    # Where each pixel is taken from.
    matrix = (c, -s, x - c * x + s * y, s, c, y - s * x - c * y)
    image = Image.fromarray(grey.astype(np.float32))
    turned = image.transform(
        (width, height), Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR
    )
    return np.asarray(turned, np.float64)


def _after_turn(shift: Shift, rotation: float, zoom: float) -> Shift:
    """Return the whole motion, if the shift was measured after the turn was undone."""
    c, s = (1 + zoom) * math.cos(rotation), (1 + zoom) * math.sin(rotation)
    return replace(
        shift,
        dx=c * shift.dx - s * shift.dy,
        dy=s * shift.dx + c * shift.dy,
        rotation=shift.rotation + rotation,
        zoom=(1 + shift.zoom) * (1 + zoom) - 1,
    )


def _textured_blocks(field: Directions) -> Iterator[tuple[int, int]]:
    """Yield the upper left corner (x, y) of each block with edges."""
    height, width = field.shape
    stride = min(_STRIDE, width // 10)
    strength = np.abs(field) ** 2
    for y in range(0, height - _BLOCK + 1, stride):
        for x in range(0, width - _BLOCK + 1, stride):
            if strength[y : y + _BLOCK, x : x + _BLOCK].sum() >= _MIN_EDGES:
                yield x, y


@dataclass(frozen=True)
class _Fit:
    """dx, dy, rotation, zoom of the agreeing blocks, and which of them agree, [B]."""

    parameters: Floats
    agrees: NDArray[np.bool_]
    quality: float


@dataclass(frozen=True)
class _Votes:
    """Correlations of the blocks of the reference about one guess of the shift.

    Attributes:
        guess: (x, y), px.
        centres: of the blocks, [B, 2] px.
        surfaces: correlation at each shift about the guess, [B, 2 * _REACH + 1, 2 * _REACH + 1].
        shift: with the most votes, whole px.
        strength: votes for it.
        rival: votes for the next best shift.
        ridge: most votes for a shift at the distance _RIDGE.

    """

    guess: tuple[int, int]
    centres: Floats
    surfaces: Floats
    shift: tuple[int, int]
    strength: float
    rival: float
    ridge: float

    @classmethod
    def collect(
        cls, reference: Directions, current: Directions, guess: tuple[int, int]
    ) -> "_Votes | None":
        """Search every block about the guess; None if none of them is inside of the picture."""
        centres, surfaces = _search(reference, current, guess)
        if not len(centres):
            return None
        votes = np.clip(surfaces - _VOTES_FROM, 0.0, None).sum(axis=0) / (1.0 - _VOTES_FROM)
        row, column = (int(i) for i in np.unravel_index(np.argmax(votes), votes.shape))
        shift = (guess[0] + column - _REACH, guess[1] + row - _REACH)
        rows, columns = np.indices(votes.shape)
        away = np.maximum(np.abs(rows - row), np.abs(columns - column))
        return cls(
            guess,
            centres,
            surfaces,
            shift,
            float(votes[row, column]),
            float(votes[away > _SAME].max()),
            float(votes[away == _RIDGE].max()),
        )

    def fit(self, shape: tuple[int, ...], focal_length: float) -> _Fit:
        """Fit shift, rotation and zoom to the blocks; `focal_length` in px, 0 = not known."""
        width = shape[1]
        lengths = [focal_length] if focal_length > 0 else [width * f for f in _FOCAL_LENGTHS]
        fits = [self._fit_lens(shape, length) for length in lengths]
        return max(fits, key=lambda fit: fit.quality)

    def _fit_lens(self, shape: tuple[int, ...], focal_length: float) -> _Fit:
        x, y = (self.centres - np.array(shape[1::-1]) / 2).T
        q = 1.0 / focal_length**2
        one, none = np.ones_like(x), np.zeros_like(x)
        # Motion of a point of the picture when the camera turns a little about its three axes,
        # for a pinhole camera, and when it zooms: [B, 2, 4].
        motion = np.array(
            [
                [one + q * x * x, q * x * y, -y, x],
                [q * x * y, one + q * y * y, x, y],
            ]
        ).transpose(2, 0, 1)
        # Rotation and zoom are small unless many blocks show otherwise.
        prior = np.diag([0.0, 0.0, 1.0, 1.0]) * 0.1 * float((x * x + y * y).mean())
        parameters = np.array([*self.shift, 0.0, 0.0], np.float64)
        best = self.surfaces.max(axis=(1, 2))
        found = _Fit(parameters, none > 0, -1.0)
        for _ in range(6):
            predicted = motion @ parameters - np.array(self.guess)
            value, slope, curvature, at = _parabola(self.surfaces, predicted)
            agrees = (value > _AGREES_FROM) & (value > _NEAR_BEST * best)
            quality = float(np.clip(value - _VOTES_FROM, 0.0, None).sum())
            # A step that loses a tenth of the votes has left the peak.
            if quality < 0.9 * found.quality or not agrees.any():
                break
            found = _Fit(parameters, agrees, quality)
            j, c, s = motion[agrees], curvature[agrees], slope[agrees]
            # Each surface is nearly a parabola at its peak: maximise their sum.
            wanted = s + np.einsum("bij,bj->bi", c, at[agrees] + np.array(self.guess))
            normal = np.einsum("bki,bkl,blj->ij", j, c, j) + prior
            right = np.einsum("bki,bk->i", j, wanted)
            parameters = np.linalg.lstsq(normal, right, rcond=None)[0]
        return found


def _search(
    reference: Directions, current: Directions, guess: tuple[int, int]
) -> tuple[Floats, Floats]:
    """Return centres and correlation surfaces of the blocks that stay inside of the picture."""
    height, width = current.shape
    right, down = guess
    padded = np.pad(current, _REACH)
    side = _BLOCK + 2 * _REACH
    blocks, regions, centres = [], [], []
    for x, y in _textured_blocks(reference):
        left, top = x + right, y + down
        if 0 <= left <= width - _BLOCK and 0 <= top <= height - _BLOCK:
            blocks.append(reference[y : y + _BLOCK, x : x + _BLOCK])
            regions.append(padded[top : top + side, left : left + side])
            centres.append((x + _BLOCK / 2, y + _BLOCK / 2))
    if not blocks:
        return np.zeros((0, 2)), np.zeros((0, 1, 1))
    ours, theirs = np.array(blocks), np.array(regions)
    spectra = np.conj(np.fft.fft2(ours, (side, side))) * np.fft.fft2(theirs)
    reach = 2 * _REACH + 1
    products = np.fft.ifft2(spectra).real[:, :reach, :reach]
    own = (np.abs(ours) ** 2).sum(axis=(1, 2))[:, None, None]
    sums = np.pad((np.abs(theirs) ** 2).cumsum(1).cumsum(2), ((0, 0), (1, 0), (1, 0)))
    under = sums[:, _BLOCK:, _BLOCK:] - sums[:, :-_BLOCK, _BLOCK:]
    under += sums[:, :-_BLOCK, :-_BLOCK] - sums[:, _BLOCK:, :-_BLOCK]
    # A place with much fewer edges than the block is not a match.
    return np.array(centres), products / np.sqrt(own * np.maximum(under, own / 2))


#: Least-squares parabola through 5 x 5 values: coefficients of 1, x, y, x², x y, y².
_GRID_Y, _GRID_X = (axis.ravel() - 2.0 for axis in np.indices((5, 5)))
_PARABOLA = np.linalg.pinv(
    np.stack(
        [np.ones(25), _GRID_X, _GRID_Y, _GRID_X**2, _GRID_X * _GRID_Y, _GRID_Y**2],
        axis=1,
    )
)


def _parabola(surfaces: Floats, shifts: Floats) -> tuple[Floats, Floats, Floats, Floats]:
    """Approximate each surface [B, ...] about a shift [B, 2] from the guess.

    Returns:
        The largest value within a pixel of the shift [B]; slope [B, 2] and negated curvature
        [B, 2, 2] at the whole pixel nearest to it, and that pixel [B, 2].

    """
    at = np.clip(np.rint(shifts), 2 - _REACH, _REACH - 2).astype(int)
    inside = np.abs(shifts - at).max(axis=1) <= 1.0
    offsets = np.arange(-2, 3)
    rows = at[:, 1, None, None] + _REACH + offsets[None, :, None]
    columns = at[:, 0, None, None] + _REACH + offsets[None, None, :]
    patches = surfaces[np.arange(len(surfaces))[:, None, None], rows, columns]
    value = np.where(inside, patches[:, 1:4, 1:4].max(axis=(1, 2)), -1.0)
    fitted = patches.reshape(len(patches), 25) @ _PARABOLA.T
    slope = fitted[:, 1:3]
    hessian = np.array([[2 * fitted[:, 3], fitted[:, 4]], [fitted[:, 4], 2 * fitted[:, 5]]])
    values, vectors = np.linalg.eigh(-hessian.transpose(2, 0, 1))
    curvature = np.einsum("bik,bk,bjk->bij", vectors, np.maximum(values, 0.0), vectors)
    return value, slope, curvature, at.astype(np.float64)
