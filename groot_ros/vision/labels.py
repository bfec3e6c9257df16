# SPDX-License-Identifier: Apache-2.0
"""Instance labels of an image: the object that each of its pixels shows, 0 = background.

They come as a sensor_msgs/Image in mono8 or mono16 of the size of the image, or as a
vision_msgs/Detection2DArray, whose boxes are filled. No ROS is needed: any object with the fields
of the message is accepted.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from groot_ros.core import MalformedError
from groot_ros.core.invariants import require
from groot_ros.vision.encodings import DETECTIONS, check_encoding, check_image

#: Largest label: those of mono16.
MAX_LABEL = 65535

Labels: TypeAlias = NDArray[np.uint16]
#: Called with (height, width) of the image; returns its labels [H, W], or raises MalformedError.
LabelDecoder: TypeAlias = Callable[[tuple[int, int]], Labels]


def checked_labels(msg: Any, stated: str) -> LabelDecoder:
    """Check a message, and return what decodes it to labels.

    Args:
        msg: an Image, or a Detection2DArray if the contract states "detections".
        stated: encoding of the robot contract.

    Raises:
        MalformedError: as check_image() and check_encoding(), or bad_labels.

    """
    if stated == DETECTIONS:
        boxes = [(_number(d.id), _box(d.bbox)) for d in msg.detections]
        return partial(_fill, boxes)
    check_image(msg, stated)
    check_encoding(msg, stated)
    return partial(_of_image, msg)


def labels_of_image(msg: Any) -> Labels:
    """Return the labels of a mono8 or mono16 image, [H, W].

    Raises:
        MalformedError: as check_image(), or bad_labels for another encoding.

    """
    require(
        msg.encoding in ("mono8", "mono16"),
        "bad_labels",
        f"labels are in {msg.encoding}, but must be mono8 or mono16",
    )
    check_image(msg, msg.encoding)
    wide = msg.encoding == "mono16"
    kind = np.dtype(np.uint8 if not wide else ">u2" if msg.is_bigendian else "<u2")
    pixels: NDArray[Any] = np.ndarray(
        (msg.height, msg.width), kind, buffer=msg.data, strides=(msg.step, kind.itemsize)
    )
    return pixels.astype(np.uint16)


def _of_image(msg: Any, size: tuple[int, int]) -> Labels:
    require(
        (msg.height, msg.width) == size,
        "bad_labels",
        f"labels have {msg.width} x {msg.height} pixels, their image {size[1]} x {size[0]}",
    )
    return labels_of_image(msg)


def _number(text: str) -> int:
    number = int(text) if text.isascii() and text.isdecimal() else 0
    if not 0 < number <= MAX_LABEL:
        raise MalformedError(
            "bad_labels",
            f"the id of a detection is '{text}', but must be a number from 1 to {MAX_LABEL} that "
            "is the same in all views",
        )
    return number


def _box(box: Any) -> tuple[float, float, float, float]:
    """Return x, y, width and height of a bounding box, px; Humble and Jazzy have these fields."""
    centre = box.center.position
    values = (float(centre.x), float(centre.y), float(box.size_x), float(box.size_y))
    require(
        bool(np.isfinite(values).all()) and min(values[2:]) > 0,
        "bad_labels",
        f"a detection has the box {values} (x, y, width, height)",
    )
    x, y, width, height = values
    return x - width / 2, y - height / 2, width, height


def _fill(
    boxes: list[tuple[int, tuple[float, float, float, float]]], size: tuple[int, int]
) -> Labels:
    """Fill the boxes: large ones first, so that a small box within a large one keeps its pixels."""
    labels = np.zeros(size, np.uint16)
    for number, (x, y, width, height) in sorted(boxes, key=lambda b: -b[1][2] * b[1][3]):
        top, left = max(0, round(y)), max(0, round(x))
        labels[top : max(0, round(y + height)), left : max(0, round(x + width))] = number
    return labels
