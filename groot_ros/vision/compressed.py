# SPDX-License-Identifier: Apache-2.0
"""Compressed images (jpeg, png): checks by their headers, and decoding with Pillow."""

import io
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

import numpy as np
from PIL import Image as PillowImage

from groot_ros.core import MalformedError
from groot_ros.core.invariants import require
from groot_ros.vision.encodings import (
    COMPRESSED,
    MAGIC,
    TO_8_BIT,
    Bytes,
    check_encoding,
    check_image,
    image_to_rgb,
    require_stated,
)

#: Larger images are not decoded: no camera delivers them, but a small png can claim to hold one.
MAX_PIXELS = 64_000_000
#: Markers of a JPEG segment that states the number of its components.
_JPEG_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
#: Positions of depth and colour type in a PNG, and the types without colour.
_PNG_DEPTH, _PNG_TYPE, _PNG_GREY = 24, 25, (0, 4)


class CompressedImage(Protocol):
    """The fields of sensor_msgs/CompressedImage that are used."""

    format: str
    data: Any


def checked_decoder(msg: Any, stated: str) -> Callable[[], Bytes]:
    """Check a message of either type, and return what decodes it to RGB, uint8 [H, W, 3].

    Args:
        msg: a CompressedImage if the stated encoding is one, else an Image.
        stated: encoding of the robot contract.

    Raises:
        MalformedError: as check_image() and check_encoding(), or check_compression().

    """
    if stated in COMPRESSED:
        check_compression(msg, stated)
        return partial(compressed_to_rgb, msg)
    check_image(msg, stated)
    check_encoding(msg, stated)
    return partial(image_to_rgb, msg, stated=stated)


def check_compressed(msg: CompressedImage) -> None:
    """Reject data that begins like none of the compressed encodings.

    Raises:
        MalformedError: empty_image, unknown_encoding.

    """
    _detect(msg)


def check_compression(msg: CompressedImage, stated: str) -> None:
    """Reject another encoding than the robot contract states, by the header of the file.

    A grey file is another encoding than a colour one: jpeg_mono8 than jpeg.

    Raises:
        MalformedError: as check_compressed(), and wrong_encoding.

    """
    require_stated(_detect(msg), stated)


def compressed_to_rgb(msg: CompressedImage) -> Bytes:
    """Decode jpeg or png (grey, colour, palette, 16 bit) to uint8 [H, W, 3]; alpha is dropped.

    image_transport writes "rgb8; jpeg compressed rgb8" when red and blue were not swapped before
    they went into an encoder that expects bgr: they are swapped back here.

    Raises:
        MalformedError: as check_compressed(), and undecodable_image, image_too_large.

    """
    check_compressed(msg)
    formats = [name.upper() for name in MAGIC]
    try:
        with PillowImage.open(io.BytesIO(msg.data), formats=formats) as image:
            _check_size(image)
            rgb = _decode(image)
    except MalformedError:
        raise
    # Pillow's plugins raise almost any exception on damaged input.
    except Exception as error:
        raise MalformedError("undecodable_image", f"'{msg.format}': {error}") from error
    return rgb[..., ::-1].copy() if "compressed rgb" in msg.format else rgb


def _detect(msg: CompressedImage) -> str:
    """Return the name of the encoding."""
    head = bytes(msg.data[:32])
    require(bool(head), "empty_image", "a compressed image without data")
    if head.startswith(MAGIC["jpeg"]):
        return "jpeg_mono8" if _jpeg_components(msg.data) == 1 else "jpeg"
    if head.startswith(MAGIC["png"]):
        if len(head) <= _PNG_TYPE or head[_PNG_TYPE] not in _PNG_GREY:
            return "png"
        return "png_mono16" if head[_PNG_DEPTH] == 16 else "png_mono8"
    raise MalformedError(
        "unknown_encoding",
        f"compressed image of format '{msg.format}' is neither {' nor '.join(MAGIC)}",
    )


def _jpeg_components(data: Any) -> int:
    """Return the number of components, 1 for grey; 0 if the header is damaged."""
    at = 2
    while at + 9 < len(data) and data[at] == 0xFF:
        if data[at + 1] in _JPEG_FRAMES:
            return int(data[at + 9])
        at += 2 + 256 * int(data[at + 2]) + int(data[at + 3])
    return 0


def _check_size(image: PillowImage.Image) -> None:
    require(
        image.width * image.height <= MAX_PIXELS,
        "image_too_large",
        f"{image.width} x {image.height} pixels, at most {MAX_PIXELS} are decoded",
    )


def _decode(image: PillowImage.Image) -> Bytes:
    if image.mode.startswith("I"):
        grey = np.clip(np.asarray(image), 0, 65535).astype(np.uint16)
        return np.repeat(TO_8_BIT[grey][..., None], 3, axis=2)
    return np.array(image.convert("RGB"), dtype=np.uint8)
