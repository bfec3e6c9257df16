# SPDX-License-Identifier: Apache-2.0
"""Camera encodings: one table, the checks of an image message and its conversion to RGB.

Adding an encoding is one row of `ENCODINGS` (sensor_msgs/Image) or `COMPRESSED`
(sensor_msgs/CompressedImage, decoded by `compressed.py`). No ROS is needed: any object with the
message's fields is accepted. `check_image` and `check_encoding` are cheap enough for every message
received; `image_to_rgb` is for the few that an observation uses.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from groot_ros.core import MalformedError
from groot_ros.core.invariants import require

Bytes: TypeAlias = NDArray[np.uint8]


class RawImage(Protocol):
    """The fields of sensor_msgs/Image that are used."""

    height: int
    width: int
    encoding: str
    is_bigendian: int
    step: int
    data: Any


@dataclass(frozen=True)
class Encoding:
    """One encoding of sensor_msgs/Image.

    Attributes:
        name: as the robot contract states it.
        bytes_per_pixel: size of a pixel in a row.
        to_rgb: pixels [H, W, bytes per pixel] and whether they are big-endian to RGB, [H, W, 3].
        width_multiple: pixels that share colour; the width is a multiple of it.
        aliases: other names of the same encoding.

    """

    name: str
    bytes_per_pixel: int
    to_rgb: Callable[[Bytes, bool], Bytes]
    width_multiple: int = 1
    aliases: tuple[str, ...] = ()


#: 16 bit to 8 bit, rounded to the nearest: 65535 = 255 * 257. cv_bridge computes the same.
TO_8_BIT = ((np.arange(65536) + 128) // 257).astype(np.uint8)


def _packed_rgb(pixels: Bytes, _bigendian: bool) -> Bytes:
    return np.ascontiguousarray(pixels)


def _channels(red: int, green: int, blue: int, pixels: Bytes, _bigendian: bool) -> Bytes:
    """Select the channels at these positions in a pixel."""
    rgb = np.empty((*pixels.shape[:2], 3), np.uint8)
    # Channel by channel: six times as fast as copying a view of reversed strides.
    for target, source in enumerate((red, green, blue)):
        rgb[..., target] = pixels[..., source]
    return rgb


def _mono16(pixels: Bytes, bigendian: bool) -> Bytes:
    words = pixels.view(">u2" if bigendian else "<u2")
    return np.repeat(TO_8_BIT[words], 3, axis=2)


# YUV 4:2:2 to RGB: ITU-R BT.601, limited range, within 1 of OpenCV's COLOR_YUV2RGB_UYVY. The
# products are tabulated in 1/32 of a level: the finest step whose sums fit into int16.
_FRACTION_BITS = 5
_LEVEL = np.arange(256, dtype=np.float64)


def _table(products: NDArray[np.float64]) -> NDArray[np.int16]:
    return np.rint(products * 2**_FRACTION_BITS).astype(np.int16)


_ROUND_UP = 0.5
_LUMA = _table(255 / 219 * np.maximum(_LEVEL - 16, 0) + _ROUND_UP)
_RED_V = _table(1.596027 * (_LEVEL - 128))
_GREEN_V = _table(-0.812968 * (_LEVEL - 128))
_GREEN_U = _table(-0.391762 * (_LEVEL - 128))
_BLUE_U = _table(2.017232 * (_LEVEL - 128))


def _uyvy(pixels: Bytes, _bigendian: bool) -> Bytes:
    """Convert pairs of pixels (U Y)(V Y)."""
    return _yuv422(luma=pixels[..., 1], u=pixels[:, 0::2, 0], v=pixels[:, 1::2, 0])


def _yuyv(pixels: Bytes, _bigendian: bool) -> Bytes:
    """Convert pairs of pixels (Y U)(Y V)."""
    return _yuv422(luma=pixels[..., 0], u=pixels[:, 0::2, 1], v=pixels[:, 1::2, 1])


def _yuv422(luma: Bytes, u: Bytes, v: Bytes) -> Bytes:
    """Convert luma [H, W] and colour [H, W / 2] to RGB, [H, W, 3]."""
    height, width = luma.shape
    colours = (_RED_V[v], _GREEN_V[v] + _GREEN_U[u], _BLUE_U[u])
    rgb = np.empty((height, width, 3), np.uint8)
    for column in (0, 1):
        brightness = _LUMA[luma[:, column::2]]
        for channel, colour in enumerate(colours):
            level = brightness + colour
            level >>= _FRACTION_BITS
            rgb[:, column::2, channel] = np.clip(level, 0, 255, out=level)
    return rgb


#: yuv422 and yuv422_yuy2 are the names of Humble, uyvy and yuyv those of Jazzy.
ENCODINGS = (
    Encoding("rgb8", 3, _packed_rgb),
    Encoding("bgr8", 3, partial(_channels, 2, 1, 0)),
    Encoding("rgba8", 4, partial(_channels, 0, 1, 2)),
    Encoding("bgra8", 4, partial(_channels, 2, 1, 0)),
    Encoding("mono8", 1, partial(_channels, 0, 0, 0)),
    Encoding("mono16", 2, _mono16),
    Encoding("yuv422", 2, _uyvy, width_multiple=2, aliases=("uyvy",)),
    Encoding("yuv422_yuy2", 2, _yuyv, width_multiple=2, aliases=("yuyv",)),
)
#: Name of each compressed encoding -> the bytes that its files begin with.
COMPRESSED = {"jpeg": b"\xff\xd8\xff", "png": b"\x89PNG\r\n\x1a\n"}

_BY_NAME = {name: row for row in ENCODINGS for name in (row.name, *row.aliases)}


def check_image(msg: RawImage) -> None:
    """Reject an image whose encoding is unknown or whose sizes disagree; ignores the pixels.

    Raises:
        MalformedError: unknown_encoding, empty_image, odd_width, step_too_small, data_short.

    """
    encoding = _BY_NAME.get(msg.encoding)
    if encoding is None:
        raise MalformedError(
            "unknown_encoding", f"'{msg.encoding}' is none of {', '.join(_BY_NAME)}"
        )
    size = f"{msg.width} x {msg.height} pixels"
    require(msg.width > 0 and msg.height > 0, "empty_image", size)
    require(
        msg.width % encoding.width_multiple == 0,
        "odd_width",
        f"{size} in {msg.encoding}, in which {encoding.width_multiple} neighbours share colour",
    )
    row = msg.width * encoding.bytes_per_pixel
    require(
        msg.step >= row,
        "step_too_small",
        f"step is {msg.step} bytes, a row of {msg.width} pixels {msg.encoding} has {row}",
    )
    require(
        len(msg.data) >= msg.step * msg.height,
        "data_short",
        f"{len(msg.data)} bytes for {msg.height} rows of {msg.step}",
    )


def check_encoding(msg: RawImage, stated: str) -> None:
    """Reject an image in another encoding than the robot contract states.

    Raises:
        MalformedError: wrong_encoding.

    """
    encoding = _BY_NAME.get(msg.encoding)
    require_stated(encoding.name if encoding else msg.encoding, stated)


def require_stated(sent: str, stated: str) -> None:
    """Reject an encoding other than the one that the robot contract states."""
    require(
        sent == stated,
        "wrong_encoding",
        f"sends {sent}, the robot contract says {stated}: correct 'encoding' there",
    )


def image_to_rgb(msg: RawImage) -> Bytes:
    """Convert an image message to RGB, uint8 [H, W, 3], C-contiguous.

    Packed rgb8 is a read-only view of the message's memory; everything else is copied once. 16 bit
    is scaled to 8 bit; `is_bigendian` applies to mono16 only.

    Raises:
        MalformedError: as check_image().

    """
    check_image(msg)
    encoding = _BY_NAME[msg.encoding]
    width = encoding.bytes_per_pixel
    # A view that skips the padding of each row.
    pixels: Bytes = np.ndarray(
        (msg.height, msg.width, width), np.uint8, buffer=msg.data, strides=(msg.step, width, 1)
    )
    pixels.flags.writeable = False
    return encoding.to_rgb(pixels, bool(msg.is_bigendian))
