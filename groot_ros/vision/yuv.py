"""YUV 4:2:2 -> RGB: ITU-R BT.601, limited range, as OpenCV's COLOR_YUV2RGB_UYVY (within 1)."""

import numpy as np
from numpy.typing import NDArray

#: The products are tabulated in 1/32 of a level: the finest step whose sums fit into int16.
_FRACTION_BITS = 5

_LEVEL = np.arange(256, dtype=np.float64)


def _table(products: NDArray[np.float64]) -> NDArray[np.int16]:
    return np.rint(products * 2**_FRACTION_BITS).astype(np.int16)


_HALF = 0.5
_LUMA = _table(255 / 219 * np.maximum(_LEVEL - 16, 0) + _HALF)
_RED_V = _table(1.596027 * (_LEVEL - 128))
_GREEN_V = _table(-0.812968 * (_LEVEL - 128))
_GREEN_U = _table(-0.391762 * (_LEVEL - 128))
_BLUE_U = _table(2.017232 * (_LEVEL - 128))


def uyvy_to_rgb(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """uint8 [H, W, 2] of (U Y)(V Y) pairs -> uint8 [H, W, 3]; W is even."""
    return _to_rgb(luma=pixels[..., 1], u=pixels[:, 0::2, 0], v=pixels[:, 1::2, 0])


def yuyv_to_rgb(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """uint8 [H, W, 2] of (Y U)(Y V) pairs -> uint8 [H, W, 3]; W is even."""
    return _to_rgb(luma=pixels[..., 0], u=pixels[:, 0::2, 1], v=pixels[:, 1::2, 1])


def _to_rgb(
    luma: NDArray[np.uint8], u: NDArray[np.uint8], v: NDArray[np.uint8]
) -> NDArray[np.uint8]:
    height, width = luma.shape
    colours = (_RED_V[v], _GREEN_V[v] + _GREEN_U[u], _BLUE_U[u])
    rgb = np.empty((height, width, 3), np.uint8)
    for column in (0, 1):
        bright = _LUMA[luma[:, column::2]]
        for channel, colour in enumerate(colours):
            level = bright + colour
            level >>= _FRACTION_BITS
            rgb[:, column::2, channel] = np.clip(level, 0, 255, out=level)
    return rgb
