# SPDX-License-Identifier: Apache-2.0
"""Images of a Bayer sensor to RGB.

Each pixel of the sensor has one colour, in a pattern of 2 x 2 pixels with one red, two green and
one blue. A missing colour is the mean of the nearest pixels that have it (bilinear), as in
image_proc and OpenCV; at the border the picture is mirrored, which keeps the pattern.
"""

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]


def debayer(mosaic: Bytes, red_row: int, red_column: int) -> Bytes:
    """Interpolate the colours of a mosaic.

    Args:
        mosaic: uint8 [H, W], H and W even.
        red_row: row of the red pixel in each 2 x 2 pixels, 0 or 1.
        red_column: column of it.

    Returns:
        uint8 [H, W, 3].

    """
    padded = np.pad(mosaic, 1, mode="reflect").astype(np.uint16)
    centre = padded[1:-1, 1:-1]
    horizontal = padded[1:-1, :-2] + padded[1:-1, 2:]
    vertical = padded[:-2, 1:-1] + padded[2:, 1:-1]
    diagonal = padded[:-2, :-2] + padded[:-2, 2:] + padded[2:, :-2] + padded[2:, 2:]
    beside, above = (horizontal + 1) // 2, (vertical + 1) // 2
    cross, corners = (horizontal + vertical + 2) // 4, (diagonal + 2) // 4
    rgb = np.empty((*mosaic.shape, 3), np.uint8)
    red = _every_other(red_row, red_column)
    blue = _every_other(1 - red_row, 1 - red_column)
    # Green pixels in the rows of red and in the rows of blue.
    green_red = _every_other(red_row, 1 - red_column)
    green_blue = _every_other(1 - red_row, red_column)
    for pixels, values in (
        (red, (centre, cross, corners)),
        (blue, (corners, cross, centre)),
        (green_red, (beside, centre, above)),
        (green_blue, (above, centre, beside)),
    ):
        for channel, value in enumerate(values):
            rgb[..., channel][pixels] = value[pixels]
    return rgb


def _every_other(row: int, column: int) -> tuple[slice, slice]:
    return slice(row, None, 2), slice(column, None, 2)
