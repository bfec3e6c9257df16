# SPDX-License-Identifier: Apache-2.0
"""List the topics of the ROS graph, for commands that are not nodes themselves."""

import time
from collections.abc import Mapping

import rclpy
from rclpy.context import Context

#: Time until all topics of a local graph have been discovered, s.
DISCOVERY_TIME = 2.0


def live_topics(seconds: float = DISCOVERY_TIME) -> Mapping[str, str]:
    """Return topic -> type, such as "sensor_msgs/msg/Image", of all topics with a publisher."""
    context = Context()
    rclpy.init(context=context)
    try:
        node = rclpy.create_node("groot_ros_graph", context=context)
        end = time.monotonic() + seconds
        found: dict[str, str] = {}
        while time.monotonic() < end:
            for topic, types in node.get_topic_names_and_types():
                if node.count_publishers(topic):
                    found[topic] = types[0]
            time.sleep(0.1)
        node.destroy_node()
        return found
    finally:
        rclpy.shutdown(context=context)
