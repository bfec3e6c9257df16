# SPDX-License-Identifier: Apache-2.0
"""Subscriptions of the policy: put images and joint states into the observation buffer."""

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeAlias

from rclpy.callback_groups import CallbackGroup
from rclpy.node import Node
from sensor_msgs.msg import CompressedImage, Image, JointState

from groot_ros.bridge import qos, rclpy_patches
from groot_ros.bridge.competing_inputs import COMPETING_PUBLISHERS, CompetingInput
from groot_ros.bridge.live_graph import InputTopic, MissingInputs
from groot_ros.bridge.messages import message_class
from groot_ros.core import MalformedError
from groot_ros.observation.buffer import ObservationBuffer
from groot_ros.observation.received import (
    add_image_message,
    add_joint_state_message,
    add_labels_message,
)
from groot_ros.observation.rejections import Rejected

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
        self._competing: dict[str, CompetingInput] = {}
        for view, camera in buffer.cameras.items():
            topic = node.resolve_topic_name(camera.topic)
            self._competing[view] = CompetingInput(node, topic, (view,), camera.rate)
        for view, labels in buffer.labels.items():
            topic, rate = node.resolve_topic_name(labels.topic), buffer.cameras[view].rate
            self._competing[labels.topic] = CompetingInput(node, topic, (labels.topic,), rate)
        for source in buffer.sources:
            topic = node.resolve_topic_name(source.topic)
            self._competing[source.topic] = CompetingInput(node, topic, source.joints, source.rate)
        self._missing = MissingInputs(node, _topics(node, buffer))
        numbered = rclpy_patches.with_publication_number
        self._subscriptions = [
            node.create_subscription(
                CompressedImage if camera.compressed else Image,
                camera.topic,
                numbered(partial(self._on_image, view)),
                qos.SENSOR,
                callback_group=group,
                event_callbacks=rclpy_patches.NO_SUBSCRIPTION_EVENTS,
            )
            for view, camera in buffer.cameras.items()
        ]
        self._subscriptions += [
            node.create_subscription(
                message_class(labels.message),
                labels.topic,
                numbered(partial(self._on_labels, view)),
                qos.SENSOR,
                callback_group=group,
                event_callbacks=rclpy_patches.NO_SUBSCRIPTION_EVENTS,
            )
            for view, labels in buffer.labels.items()
        ]
        self._subscriptions += [
            node.create_subscription(
                JointState,
                source.topic,
                numbered(partial(self._on_joint_state, source.topic)),
                qos.JOINT_STATES,
                callback_group=group,
                event_callbacks=rclpy_patches.NO_SUBSCRIPTION_EVENTS,
            )
            for source in buffer.sources
        ]

    def report_missing(self) -> str:
        """Log inputs from which nothing was received, and return a line about them or ""."""
        silent = [health.name for health in self._buffer.inputs(self._now()) if not health.count]
        return self._missing.update(silent, time.monotonic_ns())

    def begin(self) -> None:
        """Start to report missing inputs, at activation."""
        self._missing.begin(time.monotonic_ns())

    def close(self) -> None:
        """Destroy the subscriptions."""
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)
        self._subscriptions = []

    def _on_image(self, view: str, msg: Any, number: int | None) -> None:
        """Check the message now, but decode it only if an observation uses it."""
        arrival = self._now()
        if arrival == 0:
            return
        self._buffer.record_image(view, arrival, msg.data)
        if self._is_contested(view, (view,), number):
            return
        try:
            add_image_message(self._buffer, view, msg, arrival)
        except (Rejected, MalformedError) as rejection:
            self._reject(rejection.reason, rejection.detail)

    def _on_labels(self, view: str, msg: Any, number: int | None) -> None:
        arrival = self._now()
        if arrival == 0:
            return
        self._buffer.record_labels(view, arrival)
        topic = self._buffer.labels[view].topic
        if self._is_contested(topic, (topic,), number):
            return
        try:
            add_labels_message(self._buffer, view, msg, arrival)
        except (Rejected, MalformedError) as rejection:
            self._reject(rejection.reason, rejection.detail)

    def _on_joint_state(self, topic: str, msg: JointState, number: int | None) -> None:
        arrival = self._now()
        if arrival == 0:
            return
        if self._is_contested(topic, msg.name, number):
            return
        try:
            add_joint_state_message(self._buffer, topic, msg, arrival)
        except (Rejected, MalformedError) as rejection:
            self._reject(rejection.reason, rejection.detail)

    def _is_contested(self, name: str, parts: Sequence[str], number: int | None) -> bool:
        """Discard an input while two publishers send it; return whether they do."""
        conflict = self._competing[name].check_message(parts, number)
        if conflict:
            self._buffer.discard(name, COMPETING_PUBLISHERS, conflict)
            self._reject(COMPETING_PUBLISHERS, conflict)
        return bool(conflict)

    def _now(self) -> int:
        """Return ROS time, ns; 0 before the first /clock, when no stamp can be judged."""
        return int(self._node.get_clock().now().nanoseconds)


def _topics(node: Node, buffer: ObservationBuffer) -> dict[str, InputTopic]:
    cameras = {
        view: InputTopic(
            node.resolve_topic_name(camera.topic),
            f"sensor_msgs/msg/{'CompressedImage' if camera.compressed else 'Image'}",
        )
        for view, camera in buffer.cameras.items()
    }
    labels = {
        labels.topic: InputTopic(node.resolve_topic_name(labels.topic), labels.message)
        for labels in buffer.labels.values()
    }
    joints = {
        source.topic: InputTopic(
            node.resolve_topic_name(source.topic), "sensor_msgs/msg/JointState"
        )
        for source in buffer.sources
    }
    return cameras | labels | joints
