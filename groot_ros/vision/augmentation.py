# SPDX-License-Identifier: Apache-2.0
"""Random colour changes and rotations of training images, as the vendor's training applies them.

The parameters have the meaning of albumentations' ColorJitter and Rotate, which the vendor uses;
Pillow does the work, so single grey levels differ from OpenCV's.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL import Image

#: Changes an image, uint8 RGB [H, W, 3], without changing its size.
ImageChange = Callable[[NDArray[np.uint8]], NDArray[np.uint8]]
#: The same with Pillow's images.
_Step: TypeAlias = "Callable[[Image.Image], Image.Image]"


@dataclass(frozen=True)
class Augmentation:
    """Ranges of the random changes of a training image.

    Attributes:
        crop: draw the position of the crop; False crops the centre, as inference does.
        brightness, contrast, saturation: factors are drawn from [1 - value, 1 + value].
        hue: shift of the hue, drawn from [-value, value] of a full turn.
        rotation: angle, drawn from [-value, value] degrees.

    """

    crop: bool = True
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0
    rotation: float = 0.0

    @property
    def jitter(self) -> dict[str, float]:
        """Return the ranges of the colour changes by name."""
        names = ("brightness", "contrast", "saturation", "hue")
        return {name: float(getattr(self, name)) for name in names}

    @property
    def off(self) -> bool:
        """Tell whether training images are those of inference."""
        return not self.crop and not self.rotation and not any(self.jitter.values())

    def draw(self, rng: np.random.Generator) -> ImageChange | None:
        """Draw one change for all images of a sample; None = no change.

        The rotation comes first, then the colour changes in a random order.
        """
        # Imported here, as a model that is not trained needs no Pillow.
        from PIL import Image

        changes: list[_Step] = []
        if self.rotation:
            angle = float(rng.uniform(-self.rotation, self.rotation))
            changes.append(lambda image: image.rotate(angle, Image.Resampling.BILINEAR))
        if any(self.jitter.values()):
            factors = {n: float(rng.uniform(-v, v)) for n, v in self.jitter.items()}
            for number in rng.permutation(len(factors)):
                name = list(factors)[number]
                changes.append(_colour_change(name, factors[name]))
        if not changes:
            return None

        def change(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
            image = Image.fromarray(np.ascontiguousarray(pixels))
            for step in changes:
                image = step(image)
            return np.asarray(image)

        return change


def _colour_change(name: str, amount: float) -> _Step:
    from PIL import ImageEnhance

    if name == "hue":
        return lambda image: _turn_hue(image, amount)
    enhancer = {
        "brightness": ImageEnhance.Brightness,
        "contrast": ImageEnhance.Contrast,
        "saturation": ImageEnhance.Color,
    }[name]
    return lambda image: enhancer(image).enhance(1.0 + amount)


def _turn_hue(image: "Image.Image", share: float) -> "Image.Image":
    """Turn the hue by a share of a full turn."""
    from PIL import Image

    hue, saturation, value = image.convert("HSV").split()
    turned = (np.asarray(hue, dtype=np.int16) + round(share * 255)) % 256
    parts = (Image.fromarray(turned.astype(np.uint8)), saturation, value)
    return Image.merge("HSV", parts).convert("RGB")
