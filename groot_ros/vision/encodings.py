"""Image messages -> uint8 RGB arrays. Needs no ROS: any object with the message's fields will do.

`check_*` is cheap enough for every message that arrives; `*_to_rgb` is meant for the few
that an observation uses.
"""

import io
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage

from groot_ros.core import MalformedError
from groot_ros.core.invariants import require
from groot_ros.vision.yuv import uyvy_to_rgb, yuyv_to_rgb


class RawImage(Protocol):
    """The fields of sensor_msgs/Image that count here."""

    height: int
    width: int
    encoding: str
    is_bigendian: int
    step: int
    data: Any


class EncodedImage(Protocol):
    """The fields of sensor_msgs/CompressedImage that count here."""

    format: str
    data: Any


#: Where red, green and blue lie in a pixel of interleaved bytes.
_CHANNELS = {
    "rgb8": (0, 1, 2),
    "bgr8": (2, 1, 0),
    "rgba8": (0, 1, 2),
    "bgra8": (2, 1, 0),
    "mono8": (0, 0, 0),
}
#: yuv422 and yuv422_yuy2 are the names of Humble, uyvy and yuyv those of Jazzy.
_YUV: dict[str, Callable[[NDArray[np.uint8]], NDArray[np.uint8]]] = {
    "yuv422": uyvy_to_rgb,
    "uyvy": uyvy_to_rgb,
    "yuv422_yuy2": yuyv_to_rgb,
    "yuyv": yuyv_to_rgb,
}
_ALIASES = {"uyvy": "yuv422", "yuyv": "yuv422_yuy2"}
_BYTES_PER_PIXEL = {"rgb8": 3, "bgr8": 3, "rgba8": 4, "bgra8": 4, "mono8": 1, "mono16": 2}
_BYTES_PER_PIXEL |= dict.fromkeys(_YUV, 2)

#: 16 bit to 8 bit, to the nearest: 65535 = 255 * 257. What cv_bridge computes.
_TO_8_BIT = ((np.arange(65536) + 128) // 257).astype(np.uint8)

#: No robot's camera delivers more; a small png can claim to.
_MOST_PIXELS = 64_000_000

_MAGIC = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n")


def check_image(msg: RawImage) -> None:
    """Refuse an image whose sizes disagree; never looks at the pixels.

    Raises:
        MalformedError: unknown_encoding, empty_image, odd_width, step_too_small, data_short.

    """
    bytes_per_pixel = _BYTES_PER_PIXEL.get(msg.encoding, 0)
    require(
        bytes_per_pixel > 0,
        "unknown_encoding",
        f"'{msg.encoding}' is none of {', '.join(_BYTES_PER_PIXEL)}",
    )
    size = f"{msg.width} x {msg.height} pixels"
    require(msg.width > 0 and msg.height > 0, "empty_image", size)
    require(
        msg.encoding not in _YUV or msg.width % 2 == 0,
        "odd_width",
        f"{size} in {msg.encoding}, which shares colour between two neighbours",
    )
    row = msg.width * bytes_per_pixel
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
    """Refuse an image in another encoding than the contract states: one of them is wrong.

    Raises:
        MalformedError: wrong_encoding.

    """
    _require_stated(_ALIASES.get(msg.encoding, msg.encoding), stated)


def check_compression(msg: EncodedImage, stated: str) -> None:
    """Refuse a png where the contract states jpeg, and the reverse, by the first bytes.

    Raises:
        MalformedError: wrong_encoding.

    """
    jpeg, _ = _MAGIC
    _require_stated("jpeg" if bytes(msg.data[:8]).startswith(jpeg) else "png", stated)


def _require_stated(sent: str, stated: str) -> None:
    require(
        sent == stated,
        "wrong_encoding",
        f"sends {sent}, the robot contract says {stated}: correct 'encoding' there",
    )


def image_to_rgb(msg: RawImage) -> NDArray[np.uint8]:
    """Uint8 [H, W, 3], C-contiguous and read-only where it is the message's own memory.

    Packed rgb8 costs nothing (a view); everything else is copied once. 16 bit is scaled to
    8 bit; the byte order of `is_bigendian` counts for mono16 alone.

    Raises:
        MalformedError: as check_image().

    """
    check_image(msg)
    pixels = _pixels(msg)
    if msg.encoding in _YUV:
        return _YUV[msg.encoding](pixels)
    if msg.encoding == "mono16":
        words = pixels.view(">u2" if msg.is_bigendian else "<u2")
        return np.repeat(_TO_8_BIT[words], 3, axis=2)
    if msg.encoding == "rgb8":
        return np.ascontiguousarray(pixels)
    rgb = np.empty((msg.height, msg.width, 3), np.uint8)
    # Channel by channel: six times as fast as copying a view of reversed strides.
    for target, source in enumerate(_CHANNELS[msg.encoding]):
        rgb[..., target] = pixels[..., source]
    return rgb


def check_compressed(msg: EncodedImage) -> None:
    """Refuse what is neither jpeg nor png by its first bytes.

    Raises:
        MalformedError: empty_image, unknown_encoding.

    """
    head = bytes(msg.data[:8])
    require(bool(head), "empty_image", "a compressed image without data")
    require(
        head.startswith(_MAGIC),
        "unknown_encoding",
        f"compressed image of format '{msg.format}' is neither jpeg nor png",
    )


def compressed_to_rgb(msg: EncodedImage) -> NDArray[np.uint8]:
    """Uint8 [H, W, 3] from jpeg or png: grey, colour, palette, 16 bit; alpha is dropped.

    image_transport writes "rgb8; jpeg compressed rgb8" when red and blue were not swapped
    before they went into an encoder that wants bgr: they are swapped back here.

    Raises:
        MalformedError: as check_compressed(), and undecodable_image, image_too_large.

    """
    check_compressed(msg)
    try:
        with PillowImage.open(io.BytesIO(msg.data), formats=("JPEG", "PNG")) as image:
            _refuse_bomb(image)
            rgb = _decoded(image)
    except MalformedError:
        raise
    # Pillow's plugins raise nearly anything on damaged input.
    except Exception as error:
        raise MalformedError("undecodable_image", f"'{msg.format}': {error}") from error
    return rgb[..., ::-1].copy() if "compressed rgb" in msg.format else rgb


def _pixels(msg: RawImage) -> NDArray[np.uint8]:
    """[H, W, bytes per pixel], a read-only view that skips the padding of each row."""
    width = _BYTES_PER_PIXEL[msg.encoding]
    view = np.ndarray(
        (msg.height, msg.width, width), np.uint8, buffer=msg.data, strides=(msg.step, width, 1)
    )
    view.flags.writeable = False
    return view


def _refuse_bomb(image: PillowImage.Image) -> None:
    require(
        image.width * image.height <= _MOST_PIXELS,
        "image_too_large",
        f"{image.width} x {image.height} pixels",
    )


def _decoded(image: PillowImage.Image) -> NDArray[np.uint8]:
    if image.mode.startswith("I"):
        grey = np.clip(np.asarray(image), 0, 65535).astype(np.uint16)
        return np.repeat(_TO_8_BIT[grey][..., None], 3, axis=2)
    return np.array(image.convert("RGB"), dtype=np.uint8)
