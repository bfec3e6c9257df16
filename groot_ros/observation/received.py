# SPDX-License-Identifier: Apache-2.0
"""Put received messages into the observation buffer; the same for a live node and for a bag.

Only the fields of a message are read, so that the messages of a node and of a bag, which are
classes of different libraries, take the same path.
"""

from typing import Any

from groot_ros.core import MalformedError, time_to_ns
from groot_ros.observation.buffer import ObservationBuffer
from groot_ros.vision.compressed import checked_decoder
from groot_ros.vision.labels import checked_labels


def add_image_message(buffer: ObservationBuffer, view: str, message: Any, arrival_ns: int) -> None:
    """Check an image message and add it; it is decoded only if an observation uses it.

    Args:
        buffer: knows the encoding of the camera.
        view: name of the camera.
        message: sensor_msgs/Image, or CompressedImage if the contract states such an encoding.
        arrival_ns: ROS time of its arrival.

    Raises:
        MalformedError: as `checked_decoder`; the buffer remembers it as well.
        Rejected: as `ObservationBuffer.add_frame`.

    """
    try:
        decode = checked_decoder(message, buffer.cameras[view].encoding)
    except MalformedError as error:
        detail = f"camera '{view}': {error.detail}"
        buffer.record_rejection(view, error.reason, detail)
        raise MalformedError(error.reason, detail) from error
    buffer.add_frame(view, time_to_ns(message.header.stamp), arrival_ns, decode)


def add_labels_message(buffer: ObservationBuffer, view: str, message: Any, arrival_ns: int) -> None:
    """Check the labels of an image and add them; they are decoded only with their image.

    Args:
        buffer: knows the encoding of the labels.
        view: name of the camera.
        message: sensor_msgs/Image, or Detection2DArray if the contract states detections.
        arrival_ns: ROS time of its arrival.

    Raises:
        MalformedError: as `checked_labels`; the buffer remembers it as well.
        Rejected: as `ObservationBuffer.add_labels`.

    """
    topic, encoding = buffer.labels[view].topic, buffer.labels[view].encoding
    try:
        decode = checked_labels(message, encoding)
    except MalformedError as error:
        detail = f"labels of camera '{view}' on '{topic}': {error.detail}"
        buffer.record_rejection(topic, error.reason, detail)
        raise MalformedError(error.reason, detail) from error
    buffer.add_labels(view, time_to_ns(message.header.stamp), arrival_ns, decode)


def add_joint_state_message(
    buffer: ObservationBuffer, topic: str, message: Any, arrival_ns: int
) -> None:
    """Add a sensor_msgs/JointState of one source.

    Raises:
        MalformedError, Rejected: as `ObservationBuffer.add_joint_state`.

    """
    stamp_ns = time_to_ns(message.header.stamp)
    buffer.add_joint_state(topic, stamp_ns, arrival_ns, message.name, message.position)
