# SPDX-License-Identifier: Apache-2.0
"""Conversion of camera frames to the vision tower's tiles, as NVIDIA's or LeRobot's code does.

The two give different pixels for the same frame; a checkpoint needs the one it was trained with.
Both resize with torch's antialiased filters, which the vendors' transforms call, so the results
are equal bit for bit.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from groot_ros.vision.augmentation import ImageChange
from groot_ros.vision.resize import to_planar

if TYPE_CHECKING:
    import torch

Image = NDArray[np.uint8]

#: LeRobot converts frames to [0, 1] and back, with truncation.
_LEROBOT_BYTES = (np.arange(256, dtype=np.float32) / np.float32(255) * np.float32(255)).astype(
    np.uint8
)


@dataclass(frozen=True)
class ImagePreparation:
    """Preparation of camera frames.

    Attributes:
        size: side of a tile in pixels.
        crop: part of each side that is kept; unused with LeRobot.
        lerobot: use LeRobot's preparation instead of NVIDIA's.

    """

    size: int
    crop: float = 0.95
    lerobot: bool = False

    def crop_window(
        self, image: Image, at: tuple[float, float] | None = None
    ) -> tuple[float, float, float, float]:
        """Return the crop as shares of the image's sides: top, left, height, width."""
        if self.lerobot:
            return 0.0, 0.0, 1.0, 1.0
        height, width = image.shape[:2]
        top, left, h, w = self._crop(height, width, at)
        return top / height, left / width, h / height, w / width

    def __call__(
        self,
        image: Image,
        at: tuple[float, float] | None = None,
        change: ImageChange | None = None,
    ) -> Image:
        """Convert a frame to a tile.

        Args:
            image: uint8 RGB [H, W, 3] of any size.
            at: relative position of the crop in [0, 1] (vertical, horizontal), which training
                draws; None = the centre.
            change: random change of the tile, for training.

        Returns:
            Planar uint8 [3, size, size]; the aspect ratio is not kept.

        """
        tile = self._lerobot(image) if self.lerobot else self._nvidia(image, at)
        return tile if change is None else to_planar(change(tile.transpose(1, 2, 0)))

    def _nvidia(self, image: Image, at: tuple[float, float] | None) -> Image:
        """Crop, resize bilinearly in float32, and truncate."""
        top, left, h, w = self._crop(image.shape[0], image.shape[1], at)
        pixels = _planar(image[top : top + h, left : left + w]).float() / 255.0
        return (self._resized(pixels, "bilinear") * 255.0).byte()[0].numpy()

    def _crop(
        self, height: int, width: int, at: tuple[float, float] | None
    ) -> tuple[int, int, int, int]:
        """Return top, left, height and width of the crop in pixels."""
        h, w = max(1, int(height * self.crop)), max(1, int(width * self.crop))
        if at is None:
            # Half to even, as the reference rounds.
            return round((height - h) / 2.0), round((width - w) / 2.0), h, w
        return int((height - h) * at[0]), int((width - w) * at[1]), h, w

    def _lerobot(self, image: Image) -> Image:
        """Resize the whole frame bicubically in bytes."""
        return self._resized(_planar(self.bytes_of(image)), "bicubic")[0].numpy()

    @staticmethod
    def bytes_of(image: Image) -> Image:
        """Return an image after LeRobot's conversion to [0, 1] and back."""
        return _LEROBOT_BYTES[image]

    def _resized(self, pixels: "torch.Tensor", mode: str) -> "torch.Tensor":
        import torch.nn.functional as F  # noqa: N812

        return F.interpolate(
            pixels, (self.size, self.size), mode=mode, align_corners=False, antialias=True
        )


def _planar(image: Image) -> "torch.Tensor":
    """Return an image [H, W, 3] as a contiguous tensor [1, 3, H, W]."""
    import torch

    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))[None]
