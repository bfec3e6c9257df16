# SPDX-License-Identifier: Apache-2.0
"""Subscriptions of the policy: put images and joint states into the observation buffer."""

from collections.abc import Callable
from functools import partial
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from rclpy.callback_groups import CallbackGroup
from rclpy.node import Node
from sensor_msgs.msg import CompressedImage, Image, JointState

from groot_ros.bridge import qos, rclpy_patches
from groot_ros.bridge.messages import time_to_ns
from groot_ros.core import MalformedError
from groot_ros.observation.buffer import ObservationBuffer
from groot_ros.observation.rejections import Rejected
from groot_ros.vision.compressed import check_compressed, check_compression, compressed_to_rgb
from groot_ros.vision.encodings import check_encoding, check_image, image_to_rgb

Rgb: TypeAlias = NDArray[np.uint8]
#: Called with (reason, detail).
OnRejected: TypeAlias = Callable[[str, str], None]


class PolicyInputs:
    """Subscriptions to the cameras and joint states that the buffer needs, until close()."""

    def __init__(
        self, node: Node, buffer: ObservationBuffer, reject: OnRejected, group: CallbackGroup
    ) -> None:
        self._node = node
        self._buffer = buffer
        self._reject = reject
        self._subscriptions = [
            node.create_subscription(
                CompressedImage if camera.compressed else Image,
                camera.topic,
                partial(self._on_compressed if camera.compressed else self._on_image, view),
                qos.SENSOR,
                callback_group=group,
                event_callbacks=rclpy_patches.NO_SUBSCRIPTION_EVENTS,
            )
            for view, camera in buffer.cameras.items()
        ]
        self._subscriptions += [
            node.create_subscription(
                JointState,
                source.topic,
                partial(self._on_joint_state, source.topic),
                qos.JOINT_STATES,
                callback_group=group,
                event_callbacks=rclpy_patches.NO_SUBSCRIPTION_EVENTS,
            )
            for source in buffer.sources
        ]

    def close(self) -> None:
        """Destroy the subscriptions."""
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)
        self._subscriptions = []

    def _on_image(self, view: str, msg: Image) -> None:
        def check(image: Image) -> None:
            check_image(image)
            check_encoding(image, self._buffer.cameras[view].encoding)

        self._add_frame(view, msg, check, image_to_rgb)

    def _on_compressed(self, view: str, msg: CompressedImage) -> None:
        def check(image: CompressedImage) -> None:
            check_compressed(image)
            check_compression(image, self._buffer.cameras[view].encoding)

        self._add_frame(view, msg, check, compressed_to_rgb)

    def _add_frame(
        self, view: str, msg: Any, check: Callable[[Any], None], to_rgb: Callable[[Any], Rgb]
    ) -> None:
        """Check the message now, but decode it only if an observation uses it."""
        arrival = self._now()
        self._buffer.record_image(view, arrival)
        try:
            check(msg)
            stamp = time_to_ns(msg.header.stamp)
            self._buffer.add_frame(view, stamp, arrival, partial(to_rgb, msg))
        except Rejected as rejection:
            self._reject(rejection.reason, rejection.detail)
        except MalformedError as error:
            self._reject(error.reason, f"camera '{view}': {error.detail}")

    def _on_joint_state(self, topic: str, msg: JointState) -> None:
        try:
            stamp = time_to_ns(msg.header.stamp)
            self._buffer.add_joint_state(topic, stamp, self._now(), msg.name, msg.position)
        except (Rejected, MalformedError) as rejection:
            self._reject(rejection.reason, rejection.detail)

    def _now(self) -> int:
        return int(self._node.get_clock().now().nanoseconds)
