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
from groot_ros.vision.bayer import debayer

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
        to_rgb: pixels [rows, W, bytes per pixel] and whether they are big-endian to RGB, [H, W, 3].
        width_multiple, height_multiple: pixels that share colour; the size is a multiple of them.
        aliases: other names of the same encoding.
        untyped: name of OpenCV's type of the same size, which does not name the channels: accepted
            in messages, where the contract says what they are.
        grey: whether it has no colour.
        half_rows: rows of data in half rows of the image: 2, with half a plane of colour 3.

    """

    name: str
    bytes_per_pixel: int
    to_rgb: Callable[[Bytes, bool], Bytes]
    width_multiple: int = 1
    height_multiple: int = 1
    aliases: tuple[str, ...] = ()
    untyped: str = ""
    grey: bool = False
    half_rows: int = 2

    def rows(self, height: int) -> int:
        """Return the rows of data of an image of this height."""
        return height * self.half_rows // 2


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


def _yuv420(u: int, v: int, pixels: Bytes, _bigendian: bool) -> Bytes:
    """Convert a plane of luma and one of half its size, of pairs of colour at positions u and v."""
    height = pixels.shape[0] * 2 // 3
    colour = pixels[height:, :, 0]
    # The nearest colour, as OpenCV does: each row of colour belongs to two rows of the image.
    rows = (np.repeat(colour[:, position::2], 2, axis=0) for position in (u, v))
    return _yuv422(pixels[:height, :, 0], *rows)


def _bayer(red_row: int, red_column: int, pixels: Bytes, _bigendian: bool) -> Bytes:
    return debayer(pixels[..., 0], red_row, red_column)


def _bayer_row(pattern: str, red_row: int, red_column: int) -> Encoding:
    name = f"bayer_{pattern}8"
    # Two pixels at least: every colour is in the picture then.
    return Encoding(
        name,
        1,
        partial(_bayer, red_row, red_column),
        width_multiple=2,
        height_multiple=2,
        aliases=(f"bayer_{pattern[:2]}8",),
    )


#: yuv422 and yuv422_yuy2 are the names of Humble, uyvy and yuyv those of Jazzy; drivers of V4L2
#: state yuyv422, those of GenICam bayer_rg8.
ENCODINGS = (
    Encoding("rgb8", 3, _packed_rgb, untyped="8UC3"),
    Encoding("bgr8", 3, partial(_channels, 2, 1, 0), untyped="8UC3"),
    Encoding("rgba8", 4, partial(_channels, 0, 1, 2), untyped="8UC4"),
    Encoding("bgra8", 4, partial(_channels, 2, 1, 0), untyped="8UC4"),
    Encoding("mono8", 1, partial(_channels, 0, 0, 0), untyped="8UC1", grey=True),
    Encoding("mono16", 2, _mono16, untyped="16UC1", grey=True),
    Encoding("yuv422", 2, _uyvy, width_multiple=2, aliases=("uyvy", "uyvy422")),
    Encoding("yuv422_yuy2", 2, _yuyv, width_multiple=2, aliases=("yuyv", "yuy2", "yuyv422")),
    Encoding("nv12", 1, partial(_yuv420, 0, 1), 2, 2, half_rows=3),
    Encoding("nv21", 1, partial(_yuv420, 1, 0), 2, 2, half_rows=3),
    _bayer_row("rggb", 0, 0),
    _bayer_row("bggr", 1, 1),
    _bayer_row("gbrg", 1, 0),
    _bayer_row("grbg", 0, 1),
)
#: Name of each compressed encoding -> the bytes that its files begin with.
MAGIC = {"jpeg": b"\xff\xd8\xff", "png": b"\x89PNG\r\n\x1a\n"}
#: Compressed encodings. jpeg and png are colour; a grey file is another encoding, because a model
#: that was trained on colour does not work on it.
COMPRESSED = ("jpeg", "png", "jpeg_mono8", "png_mono8", "png_mono16")
#: Labels of objects as vision_msgs/Detection2DArray, decoded by `labels.py`.
DETECTIONS = "detections"
_COMPRESSED_ALIASES = {"jpg": "jpeg", "mjpeg": "jpeg", "mjpg": "jpeg"}

_BY_NAME = {name: row for row in ENCODINGS for name in (row.name, *row.aliases)}
#: All names that the robot contract may state.
ENCODING_NAMES = (*_BY_NAME, *COMPRESSED, *_COMPRESSED_ALIASES)
_UNTYPED = {row.untyped for row in ENCODINGS if row.untyped}
#: What to state instead of a name that says too little or that is not decoded.
_ADVICE = {
    "8UC1": "state mono8",
    "8UC3": "it does not name the order of the channels: state bgr8 (OpenCV's order) or rgb8",
    "8UC4": "it does not name the order of the channels: state bgra8 (OpenCV's order) or rgba8",
    "16UC1": "state mono16",
    "nv24": "set the driver to nv12, nv21 or rgb8",
    "i420": "set the driver to nv12 or rgb8",
    "yuv420": "set the driver to nv12 or rgb8",
    "rgb16": "set the driver to rgb8",
    "bgr16": "set the driver to bgr8",
    "compressed": "state jpeg or png",
    "h264": "republish the images as jpeg",
    "h265": "republish the images as jpeg",
    "32FC1": "it is a depth image: use the topic of the colour camera",
}


def find_encoding(name: str) -> str:
    """Return the name in the table of an encoding, of an alias, or of either in another case.

    Raises:
        ValueError: unknown; the message names values that work.

    """
    for candidate in (name, name.lower()):
        if candidate in _BY_NAME:
            return _BY_NAME[candidate].name
        if candidate in COMPRESSED:
            return candidate
        if candidate in _COMPRESSED_ALIASES:
            return _COMPRESSED_ALIASES[candidate]
    raise ValueError(f"'{name}', which is not decoded: {_advice(name)}")


def is_colour(name: str) -> bool:
    """Return whether images of an encoding of the table have colour."""
    return not _BY_NAME[name].grey if name in _BY_NAME else "mono" not in name


def _advice(name: str) -> str:
    for known, advice in _ADVICE.items():
        if known.lower() == name.lower():
            return advice
    if name.lower().startswith("bayer_"):
        pattern = name.lower()[:10].rstrip("0123456789")
        known = next((n for n in _BY_NAME if n.startswith(pattern)), "bayer_rggb8")
        return f"set the driver to 8 bit, such as {known}, or rgb8"
    names = (*(row.name for row in ENCODINGS), *COMPRESSED)
    return f"state one of {', '.join(names)}"


def check_image(msg: RawImage, stated: str = "") -> None:
    """Reject an image whose encoding is unknown or whose sizes disagree; ignores the pixels.

    Args:
        msg: the image.
        stated: encoding of the robot contract, which says what the channels of 8UC3 are.

    Raises:
        MalformedError: unknown_encoding, empty_image, odd_width, odd_height, step_too_small,
            data_short.

    """
    encoding = _encoding_of(msg, stated)
    size = f"{msg.width} x {msg.height} pixels"
    require(msg.width > 0 and msg.height > 0, "empty_image", size)
    for what, pixels, multiple in (
        ("width", msg.width, encoding.width_multiple),
        ("height", msg.height, encoding.height_multiple),
    ):
        require(
            pixels % multiple == 0,
            f"odd_{what}",
            f"{size} in {msg.encoding}, in which {multiple} neighbours share colour",
        )
    row = msg.width * encoding.bytes_per_pixel
    require(
        msg.step >= row,
        "step_too_small",
        f"step is {msg.step} bytes, a row of {msg.width} pixels {msg.encoding} has {row}",
    )
    rows = encoding.rows(msg.height)
    require(
        len(msg.data) >= msg.step * rows,
        "data_short",
        f"{len(msg.data)} bytes for {rows} rows of {msg.step}",
    )


def check_encoding(msg: RawImage, stated: str) -> None:
    """Reject an image in another encoding than the robot contract states.

    Raises:
        MalformedError: unknown_encoding, wrong_encoding.

    """
    require_stated(_encoding_of(msg, stated).name, stated)


def _encoding_of(msg: RawImage, stated: str) -> Encoding:
    """Return the row of a message's encoding; the contract's for OpenCV's type of its size."""
    found = _BY_NAME.get(msg.encoding)
    if found is None and msg.encoding in _UNTYPED:
        found = _BY_NAME.get(stated)
        if found is not None and found.untyped != msg.encoding:
            found = None
    if found is None:
        raise MalformedError(
            "unknown_encoding", f"'{msg.encoding}' is not decoded: {_advice(msg.encoding)}"
        )
    return found


def require_stated(sent: str, stated: str) -> None:
    """Reject an encoding other than the one that the robot contract states."""
    note = ""
    if is_colour(stated) and not is_colour(sent):
        note = ", which is colour, but the images are grey"
    elif is_colour(sent) and not is_colour(stated):
        note = ", which is grey, but the images are colour"
    require(
        sent == stated,
        "wrong_encoding",
        f"sends {sent}, the robot contract says {stated}{note}: correct the driver, or set "
        f"'encoding: {sent}' in the contract",
    )


def image_to_rgb(msg: RawImage, stated: str = "") -> Bytes:
    """Convert an image message to RGB, uint8 [H, W, 3], C-contiguous.

    Packed rgb8 is a read-only view of the message's memory; everything else is copied once. 16 bit
    is scaled to 8 bit; `is_bigendian` applies to mono16 only.

    Raises:
        MalformedError: as check_image().

    """
    check_image(msg, stated)
    encoding = _encoding_of(msg, stated)
    width = encoding.bytes_per_pixel
    # A view that skips the padding of each row.
    pixels: Bytes = np.ndarray(
        (encoding.rows(msg.height), msg.width, width),
        np.uint8,
        buffer=msg.data,
        strides=(msg.step, width, 1),
    )
    pixels.flags.writeable = False
    return encoding.to_rgb(pixels, bool(msg.is_bigendian))
