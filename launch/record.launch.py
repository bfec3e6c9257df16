# SPDX-License-Identifier: Apache-2.0
"""Record the graph of a robot contract with `ros2 bag record`.

    ros2 launch groot_ros record.launch.py robot:=so101 output:=$HOME/bags/run1

Where rosbag2 is not installed, `groot-ros bag record` writes the same topics.
"""

from launch import LaunchDescription

from groot_ros.bringup.launch_description import describe_recording


def generate_launch_description() -> LaunchDescription:
    return describe_recording()
