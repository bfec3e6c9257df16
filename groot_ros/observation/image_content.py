# SPDX-License-Identifier: Apache-2.0
"""Contents of images that contradict what a camera promises: a frozen picture, missing colour.

Both are warnings, not rejections: a simulated camera of a scene at rest repeats its picture, and a
scene may be grey.
"""

import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from groot_ros.core import NS_PER_S, ns_to_s

#: Time after which a picture that stays the same in every byte is reported, ns. The noise of a
#: sensor changes each picture.
FROZEN_NS = 5 * NS_PER_S
#: Observations in a row without colour after which it is reported.
COLOURLESS_IMAGES = 5
#: Bytes of a message that are compared: a sample, because reading all of them takes too long.
_SAMPLE = 4096
#: Pixels between two that are compared, in both directions.
_STRIDE = 8


class ImageContent:
    """Watch the pictures of one camera; each problem is reported once until it ends.

    Args:
        view: name of the camera.
        colour: whether the robot contract promises colour.

    """

    def __init__(self, view: str, *, colour: bool) -> None:
        self._view = view
        self._colour = colour
        self._sum: int | None = None
        self._since_ns = 0
        self._reported = False
        self._colourless = 0

    def check_message(self, data: Any, now_ns: int) -> str:
        """Return a warning if the bytes of the messages have stayed the same, else ""."""
        view = memoryview(data)
        sample = view[:: max(1, len(view) // _SAMPLE)].tobytes()
        current = zlib.crc32(sample, len(view))
        if current != self._sum or now_ns < self._since_ns:
            self._sum, self._since_ns, self._reported = current, now_ns, False
        elif not self._reported and now_ns - self._since_ns >= FROZEN_NS:
            self._reported = True
            return (
                f"camera '{self._view}' has sent the same picture for {ns_to_s(FROZEN_NS):g} s, "
                "with new stamps: is it frozen? (normal only in a simulation, while nothing moves)"
            )
        return ""

    def check_pixels(self, rgb: NDArray[np.uint8]) -> str:
        """Return a warning if no recent picture, [H, W, 3], had colour though it was promised."""
        if not self._colour or self._colourless > COLOURLESS_IMAGES:
            return ""
        sample = rgb[::_STRIDE, ::_STRIDE]
        if (sample[..., :2] != sample[..., 1:]).any():
            self._colourless = 0
            return ""
        self._colourless += 1
        if self._colourless < COLOURLESS_IMAGES:
            return ""
        self._colourless += 1
        return (
            f"camera '{self._view}' sends grey pictures, the robot contract promises colour: "
            "check the driver, or set a mono encoding if the model was trained on grey pictures"
        )
