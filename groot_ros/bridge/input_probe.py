# SPDX-License-Identifier: Apache-2.0
"""Observe the messages of one input of the robot contract."""

import time
from collections.abc import Collection, Mapping, Sequence
from itertools import pairwise
from typing import Any

from rclpy.node import Node
from sensor_msgs.msg import CompressedImage, Image, JointState

from groot_ros.bridge import qos, rclpy_patches
from groot_ros.bridge.command_topic import type_name
from groot_ros.bridge.competing_inputs import CompetingInput
from groot_ros.bridge.graph_monitor import publishers_of
from groot_ros.bridge.messages import message_class
from groot_ros.core import ns_to_s, time_to_ns
from groot_ros.core.live_graph import ImageForm, LiveInput, similar_topics
from groot_ros.robot import Camera, JointStateSource

#: Forms of images that are kept for each camera.
_MAX_FORMS = 4


class InputProbe:
    """Subscription to one input, and what was received on it.

    Args:
        node: the subscribing node.
        declared: the input in the contract.
        image: probe of the camera whose labels the messages of `declared.labels` are; None for
            the input itself.

    Attributes:
        topic: full name.
        stamps_ns: the stamps of all messages.

    Raises:
        ValueError: the type of the labels is not installed.

    """

    def __init__(
        self, node: Node, declared: Camera | JointStateSource, image: "InputProbe | None" = None
    ) -> None:
        self._node = node
        self._declared = declared
        self._image = image
        self.stamps_ns: set[int] = set()
        topic = declared.topic
        if isinstance(declared, Camera):
            message: Any = CompressedImage if declared.compressed else Image
            parts: Sequence[str] = (declared.name,)
            if image is not None:
                assert declared.labels is not None
                topic, message = declared.labels.topic, message_class(declared.labels.message)
        else:
            message, parts = JointState, declared.joints
        self.topic = node.resolve_topic_name(topic)
        self._message = type_name(message)
        self._competing = CompetingInput(node, self.topic, parts, declared.rate)
        self._arrivals: list[tuple[float, int | None]] = []
        self._ages: list[float] = []
        self._unstamped = False
        self._conflict = ""
        self._forms: dict[object, ImageForm] = {}
        self._positions: dict[str, tuple[float, float]] = {}
        callback = rclpy_patches.with_publication_number(self._on_message)
        node.create_subscription(message, topic, callback, qos.SENSOR)

    def live(self, free: Mapping[str, Sequence[str]]) -> LiveInput:
        """Return what was observed; `free` are the topics that no input of the contract uses."""
        publishers = publishers_of(self._node, self.topic)
        infos = self._node.get_publishers_info_by_topic(self.topic)
        arrivals, ages = [*self._arrivals], [*self._ages]
        return LiveInput(
            topic=self.topic,
            message=self._message,
            publishers=tuple(sorted(publishers)),
            types=tuple(sorted({info.topic_type for info in infos})),
            similar=() if publishers else similar_topics(self.topic, free, self._message),
            received=len(arrivals),
            rate=published_rate(arrivals),
            age=min(ages, default=0.0),
            unstamped=self._unstamped,
            conflict=self._conflict,
            forms=tuple(self._forms.values()),
            positions=dict(self._positions),
            with_image=len(self.stamps_ns & self._image.stamps_ns) if self._image else 0,
        )

    def _on_message(self, msg: Any, number: int | None) -> None:
        self._arrivals.append((time.monotonic(), number))
        now, stamp = int(self._node.get_clock().now().nanoseconds), time_to_ns(msg.header.stamp)
        self.stamps_ns.add(stamp)
        if stamp == 0:
            self._unstamped = True
        elif now:
            self._ages.append(ns_to_s(now - stamp + self._declared.latency_ns))
        parts: Collection[str]
        if isinstance(self._declared, Camera):
            parts = (self._declared.name,)
            if isinstance(msg, Image | CompressedImage) and len(self._forms) < _MAX_FORMS:
                key, form = _form_of(msg)
                self._forms.setdefault(key, form)
        else:
            parts = msg.name
            for joint, position in zip(msg.name, msg.position, strict=False):
                low, high = self._positions.get(joint, (position, position))
                self._positions[joint] = (min(low, position), max(high, position))
        self._conflict = self._competing.check_message(tuple(parts), number) or self._conflict


def published_rate(arrivals: Sequence[tuple[float, int | None]]) -> float:
    """Return the rate at which messages were published, Hz; 0 if fewer than two were received.

    Messages that were lost on the way count, where one publisher has numbered them.

    Args:
        arrivals: time in s and publication number of each message.

    """
    if len(arrivals) < 2:
        return 0.0
    numbers = [number for _, number in arrivals if number is not None]
    grows = len(numbers) == len(arrivals) and all(
        before < after for before, after in pairwise(numbers)
    )
    count = numbers[-1] - numbers[0] if grows else len(arrivals) - 1
    return count / max(1e-9, arrivals[-1][0] - arrivals[0][0])


def _form_of(msg: Any) -> tuple[object, ImageForm]:
    if isinstance(msg, CompressedImage):
        return msg.format, ImageForm(format=msg.format, data=bytes(msg.data))
    key = (msg.width, msg.height, msg.encoding, msg.step, len(msg.data))
    return key, ImageForm(
        msg.width,
        msg.height,
        msg.encoding,
        step=msg.step,
        is_bigendian=msg.is_bigendian,
        data=range(len(msg.data)),
    )
