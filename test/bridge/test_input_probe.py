# SPDX-License-Identifier: Apache-2.0
"""The doctor observes labels over DDS: their form, and which have the stamp of an image."""

from dataclasses import replace

import pytest
import rclpy
from rclpy.executors import SingleThreadedExecutor
from sensor_msgs.msg import Image
from support.policy_stage import wait_until

from groot_ros.bridge import qos
from groot_ros.bridge.input_probe import InputProbe
from groot_ros.bridge.messages import ns_to_time
from groot_ros.core import NS_PER_S
from groot_ros.core.share import robot_path
from groot_ros.robot import load_contract
from groot_ros.robot.inputs import Labels

CAMERA = load_contract(robot_path("arm7_suction_table")).cameras["front"]


@pytest.fixture
def node(ros_domain):
    rclpy.init()
    node = rclpy.create_node("doctor")
    yield node
    node.destroy_node()
    rclpy.shutdown()


def image(stamp_s: int, encoding: str) -> Image:
    channels = 3 if encoding == "rgb8" else 1
    data = bytes(16 * 16 * channels)
    msg = Image(width=16, height=16, step=16 * channels, encoding=encoding, data=data)
    msg.header.stamp = ns_to_time(stamp_s * NS_PER_S)
    return msg


@pytest.mark.ros
def test_labels_with_the_stamp_of_an_image_are_counted(node):
    camera = InputProbe(node, CAMERA)
    labels = InputProbe(node, CAMERA, camera)
    publishers = {
        encoding: node.create_publisher(Image, topic, qos.DRIVER)
        for encoding, topic in (("rgb8", CAMERA.topic), ("mono8", CAMERA.labels.topic))
    }
    executor = SingleThreadedExecutor()
    executor.add_node(node)

    def spun(condition):
        executor.spin_once(timeout_sec=0.05)
        return condition()

    matched = lambda: all(p.get_subscription_count() for p in publishers.values())  # noqa: E731
    wait_until(lambda: spun(matched), "the topics are subscribed to")
    for stamps in ({"rgb8": 1, "mono8": 1}, {"rgb8": 2, "mono8": 3}):
        for encoding, stamp in stamps.items():
            publishers[encoding].publish(image(stamp, encoding))
    wait_until(lambda: spun(lambda: labels.live({}).received == 2), "labels are received")
    wait_until(lambda: spun(lambda: camera.live({}).received == 2), "images are received")
    found = labels.live({})
    assert (found.topic, found.message) == ("/front/labels", "sensor_msgs/msg/Image")
    assert [(form.encoding, form.width) for form in found.forms] == [("mono8", 16)]
    assert found.with_image == 1
    assert camera.live({}).with_image == 0
    executor.shutdown()


def test_labels_of_a_type_that_is_not_installed_are_an_error(node):
    camera = replace(CAMERA, labels=Labels("front/boxes", "detections"))
    try:
        import vision_msgs.msg  # noqa: F401
    except ImportError:
        with pytest.raises(ValueError, match="vision_msgs/msg/Detection2DArray is not installed"):
            InputProbe(node, camera, InputProbe(node, CAMERA))
    else:
        probe = InputProbe(node, camera, InputProbe(node, CAMERA))
        assert probe.live({}).message == "vision_msgs/msg/Detection2DArray"
