# SPDX-License-Identifier: Apache-2.0
"""Conversion of camera frames to the vision tower's images, as in the reference's evaluation."""

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from groot_ros.core.config_reader import CheckpointError
from groot_ros.families.gr00t_n1d6.processor_config import ProcessorConfig
from groot_ros.vision.augmentation import ImageChange
from groot_ros.vision.resize import Image, resize_area, resize_bicubic, to_planar

_MAX_SIDE = 7000
_MAX_RATIO = 200
_MIN_CELLS, _MAX_CELLS = 4, 4096


def smallest_side_size(h: int, w: int, edge: int) -> tuple[int, int]:
    """Return the scaled size (height, width) whose smaller side is `edge`; rounds half to even."""
    scale = edge / float(min(h, w))
    return (h, w) if scale == 1.0 else (round(h * scale), round(w * scale))


def token_grid_size(h: int, w: int, cell: int) -> tuple[int, int]:
    """Return the size closest to the image's that consists of 4 to 4096 whole cells.

    Args:
        h: height of the image.
        w: width of the image.
        cell: side of a cell in pixels, patch size times pixel shuffle.

    Raises:
        ValueError: one side is more than 200 times as long as the other.

    """
    if max(h, w) / min(h, w) > _MAX_RATIO:
        raise ValueError(f"an image of {h} x {w} is more than {_MAX_RATIO} times as long as wide")
    rows, columns = (min(max(cell, round(v / cell) * cell), _MAX_SIDE) for v in (h, w))
    if rows * columns > _MAX_CELLS * cell * cell:
        shrink = math.sqrt(rows * columns / (_MAX_CELLS * cell * cell))
        rows, columns = (math.floor(v / shrink / cell) * cell for v in (rows, columns))
    elif rows * columns < _MIN_CELLS * cell * cell:
        grow = math.sqrt(_MIN_CELLS * cell * cell / (h * w))
        rows, columns = (math.ceil(v * grow / cell) * cell for v in (h, w))
    return rows, columns


class _Sizes(NamedTuple):
    """Height and width after every step of the pipeline."""

    shrunk: tuple[int, int]
    crop: tuple[int, int]
    enlarged: tuple[int, int]
    cells: tuple[int, int]


@dataclass(frozen=True)
class ImagePipeline:
    """Image pipeline: shrink, crop, enlarge again, then resize to whole cells.

    Attributes:
        edge: length of the smaller side before and after the crop, in pixels.
        crop: fraction of each side that is kept.
        cell: side of the square that becomes one image token, in pixels.

    """

    edge: int
    crop: float
    cell: int = 28

    @classmethod
    def of(cls, config: ProcessorConfig, cell: int = 28) -> "ImagePipeline":
        """Return the pipeline of a checkpoint.

        A missing edge or crop fraction is computed from the older keys `image_crop_size` and
        `image_target_size`.

        Raises:
            CheckpointError: these are missing, too, or the fraction is not in (0, 1].

        """
        edge, fraction = config.shortest_image_edge, config.crop_fraction
        where = config.path("processor_config.json")
        if edge is None:
            if config.image_target_size is None:
                raise CheckpointError(
                    f"{where}: 'shortest_image_edge' and 'image_target_size' are both missing"
                )
            edge = config.image_target_size[0]
        if fraction is None:
            if config.image_crop_size is None or config.image_target_size is None:
                raise CheckpointError(
                    f"{where}: 'crop_fraction' is missing, and so are 'image_crop_size' and "
                    "'image_target_size'"
                )
            fraction = config.image_crop_size[0] / config.image_target_size[0]
        if not 0.0 < fraction <= 1.0:
            raise CheckpointError(
                f"{where}: 'crop_fraction' (or 'image_crop_size' over 'image_target_size') must be "
                f"above 0 and at most 1, not {fraction:g}"
            )
        return cls(edge, fraction, cell)

    def transform(self, image: Image, at: tuple[float, float] = (0.5, 0.5)) -> Image:
        """Crop an image and scale its smaller side to `edge`.

        Args:
            image: uint8 RGB [H, W, 3] of any size.
            at: relative position of the crop in [0, 1] (vertical, horizontal); (0.5, 0.5) is the
                centre, used for evaluation. Training draws it.

        Returns:
            Planar uint8 [3, h, w].

        Raises:
            ValueError: one side is more than 200 times as long as the other.

        """
        return self._cropped(image, self._sizes(image), at).astype(np.uint8)

    def shrink(self, image: Image) -> Image:
        """Scale the smaller side of an image [H, W, 3] to `edge`, the first step of the pipeline.

        The pipeline gives the same result for the returned image, [h, w, 3], as for the image.
        """
        height, width = smallest_side_size(image.shape[0], image.shape[1], self.edge)
        shrunk = resize_area(to_planar(image), height, width).astype(np.uint8)
        return np.ascontiguousarray(shrunk.transpose(1, 2, 0))

    def crop_window(
        self, image: Image, at: tuple[float, float] = (0.5, 0.5)
    ) -> tuple[float, float, float, float]:
        """Return the crop as shares of the image's sides: top, left, height, width."""
        (height, width), (rows, columns), *_ = self._sizes(image)
        top, left = int((height - rows) * at[0]), int((width - columns) * at[1])
        return top / height, left / width, rows / height, columns / width

    def __call__(
        self,
        image: Image,
        at: tuple[float, float] = (0.5, 0.5),
        change: ImageChange | None = None,
    ) -> Image:
        """Convert an image to the vision tower's input.

        Args:
            image: uint8 RGB [H, W, 3] of any size.
            at: see `transform`.
            change: random change of the cropped image, for training.

        Returns:
            Planar uint8 [3, h, w]; both sides are multiples of `cell`.

        Raises:
            ValueError: one side is more than 200 times as long as the other; raised before any
                pixel is processed.

        """
        sizes = self._sizes(image)
        pixels = self._cropped(image, sizes, at)
        if change is not None:
            pixels = to_planar(change(pixels.astype(np.uint8).transpose(1, 2, 0)))
        return resize_bicubic(pixels, *sizes.cells).astype(np.uint8)

    def _sizes(self, image: Image) -> "_Sizes":
        # Computed before any pixel is processed: a frame of one line, enlarged, would fill the
        # memory.
        shrunk = smallest_side_size(image.shape[0], image.shape[1], self.edge)
        height, width = (max(1, int(side * self.crop)) for side in shrunk)
        enlarged = smallest_side_size(height, width, self.edge)
        try:
            cells = token_grid_size(*enlarged, self.cell)
        except ValueError as error:
            raise ValueError(
                f"a frame of {image.shape[0]} x {image.shape[1]} becomes {enlarged[0]} x "
                f"{enlarged[1]}, more than {_MAX_RATIO} times as long as wide"
            ) from error
        return _Sizes(shrunk, (height, width), enlarged, cells)

    @staticmethod
    def _cropped(image: Image, sizes: "_Sizes", at: tuple[float, float]) -> NDArray[Any]:
        (height, width), (ch, cw) = sizes.shrunk, sizes.crop
        window = int((height - ch) * at[0]), int((width - cw) * at[1]), ch, cw
        return resize_area(resize_area(to_planar(image), height, width, window), *sizes.enlarged)

    def tokens(self, image: Image) -> int:
        """Return the number of image tokens of an image [3, h, w] from the pipeline."""
        return image.shape[1] * image.shape[2] // (self.cell * self.cell)
