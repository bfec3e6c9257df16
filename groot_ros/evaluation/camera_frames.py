# SPDX-License-Identifier: Apache-2.0
"""Images of a bag at chosen times: whole frames for pictures, thumbnails for the page."""

import io
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from groot_ros.bags.reader import decode, open_bag
from groot_ros.core import MalformedError, ns_to_s
from groot_ros.evaluation.page import data_uri
from groot_ros.evaluation.progress import tracked
from groot_ros.vision.compressed import compressed_to_rgb
from groot_ros.vision.encodings import image_to_rgb

#: Message type -> its conversion to RGB, uint8 [H, W, 3].
CAMERA_TYPES: dict[str, Callable[[Any], NDArray[np.uint8]]] = {
    "sensor_msgs/msg/Image": image_to_rgb,
    "sensor_msgs/msg/CompressedImage": compressed_to_rgb,
}
#: Size of a thumbnail, px; its quality as a JPEG.
_THUMBNAIL_SIZE, _QUALITY = (240, 180), 62
#: Thumbnails of one camera per second of the run, and of all cameras of a page, at most.
_THUMBNAILS_PER_SECOND, _MAX_THUMBNAILS = 10.0, 1000
#: Size of all thumbnails in the page, at most, bytes: Base64 needs a third more than the images.
_MAX_BYTES = 12_000_000


class FrameConsumer(Protocol):
    """Object that `read_frames` passes images to."""

    times: NDArray[np.float64]

    def take(self, topic: str, time: float, rgb: NDArray[np.uint8]) -> None:
        """Use an image received at `time`; also called for images that others need."""


class FramesAt:
    """The frames at some times.

    Args:
        times: ascending, s since the start of the bag.
        topics: cameras of which frames are kept; None = all.

    Attributes:
        shown: topic -> for each time the first uint8 RGB [H, W, 3] at or after it, as long as
            there is one.

    """

    def __init__(self, times: NDArray[np.float64], topics: Collection[str] | None = None) -> None:
        self.times = times
        self.shown: dict[str, list[NDArray[np.uint8]]] = {}
        self._topics = topics

    def take(self, topic: str, time: float, rgb: NDArray[np.uint8]) -> None:
        """Keep the image once for each time that it is the first one after."""
        if self._topics is not None and topic not in self._topics:
            return
        done = len(self.shown.get(topic, ()))
        due = int(np.searchsorted(self.times, time, side="right"))
        if due > done:
            self.shown.setdefault(topic, []).extend([rgb] * (due - done))


class Thumbnails:
    """Small pictures of every camera, spread over the run.

    Args:
        duration: of the run, s.
        cameras: number of cameras that share the space.
        max_bytes: size of all thumbnails in the page, at most.

    Attributes:
        shown: topic -> (time, JPEG as an address) in the order of their times.
        aspects: topic -> width / height of the last of them.

    """

    def __init__(self, duration: float, cameras: int, max_bytes: int = _MAX_BYTES) -> None:
        most = _MAX_THUMBNAILS // max(cameras, 1)
        count = int(min(max(duration * _THUMBNAILS_PER_SECOND, 1), most))
        self.times = np.linspace(0.0, duration, count, endpoint=False)
        self.shown: dict[str, list[tuple[float, str]]] = {}
        self.aspects: dict[str, float] = {}
        self._max_bytes = max_bytes
        self._next: dict[str, int] = {}

    def take(self, topic: str, time: float, rgb: NDArray[np.uint8]) -> None:
        """Keep a small picture of the image if one is due."""
        if time < self.times[0]:
            return
        due = int(np.searchsorted(self.times, time, side="right"))
        if due > self._next.get(topic, 0):
            self._next[topic] = due
            self.aspects[topic] = rgb.shape[1] / rgb.shape[0]
            self.shown.setdefault(topic, []).append((time, data_uri(_thumbnail(rgb), "jpeg")))
            self._limit()

    def _limit(self) -> None:
        """Leave out every second thumbnail while all of them are too large."""
        total = sum(len(uri) for own in self.shown.values() for _, uri in own)
        if total > self._max_bytes:
            self.shown = {topic: own[::2] for topic, own in self.shown.items()}


def read_frames(bag: Path, consumers: Sequence[FrameConsumer]) -> dict[str, str]:
    """Pass images to the consumers, in one pass over the bag.

    Decoded is the first image of every camera at or after each of the consumers' times, s since the
    start of the bag, or the next one that can be decoded.

    Returns:
        Topic -> why the last image that cannot be decoded cannot be.

    """
    times = np.unique(np.concatenate([consumer.times for consumer in consumers]))
    rejected: dict[str, str] = {}
    done: dict[str, int] = {}
    with open_bag(bag) as (reader, types):
        cameras = [c for c in reader.connections if c.msgtype in CAMERA_TYPES]
        if not cameras or not len(times):
            return rejected
        total = sum(c.msgcount for c in cameras)
        messages = reader.messages(connections=cameras)
        for connection, received_ns, raw in tracked(messages, "reading the images", total):
            topic = connection.topic
            received = ns_to_s(received_ns - reader.start_time)
            due = int(np.searchsorted(times, received, side="right"))
            if due <= done.get(topic, 0):
                continue
            try:
                message = decode(types, raw, connection.msgtype)
                rgb = CAMERA_TYPES[connection.msgtype](message)
            except MalformedError as error:
                rejected[topic] = str(error)
                continue
            done[topic] = due
            for consumer in consumers:
                consumer.take(topic, received, rgb)
    return rejected


def _thumbnail(rgb: NDArray[np.uint8]) -> bytes:
    picture = Image.fromarray(rgb)
    picture.thumbnail(_THUMBNAIL_SIZE)
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=_QUALITY)
    return file.getvalue()
