# SPDX-License-Identifier: Apache-2.0
"""Normalised pixels, and the order in which the patches of one image token follow each other."""

from torch import Tensor


def cell_order(x: Tensor, h: int, w: int, factor: int) -> Tensor:
    """Reorder the first dimension of x from row-major order to cell by cell.

    The first dimension counts the patches of an [h, w] grid; a cell is factor x factor patches.
    """
    grid = x.reshape(h // factor, factor, w // factor, factor, *x.shape[1:])
    return grid.transpose(1, 2).reshape(x.shape)


def to_cell_patches(images: Tensor, patch: int, factor: int) -> Tensor:
    """Split images [V, C, H, W] into patches [V, H/p * W/p, p*p*C], cell by cell.

    The values of a patch are in the order (y, x, channel).
    """
    views, channels, height, width = images.shape
    rows, columns = height // (patch * factor), width // (patch * factor)
    grid = images.reshape(views, channels, rows, factor, patch, columns, factor, patch)
    return grid.permute(0, 2, 5, 3, 6, 4, 7, 1).reshape(
        views, rows * columns * factor**2, patch**2 * channels
    )


def normalise_pixels(images: Tensor) -> Tensor:
    """Convert uint8 pixels to float32 in [-1, 1]: (x - 127.5) / 127.5."""
    return (images.float() - 127.5) / 127.5
