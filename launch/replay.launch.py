# SPDX-License-Identifier: Apache-2.0
"""Play a bag to a policy and to an executor in shadow, which commands nothing.

    ros2 launch groot_ros replay.launch.py bag:=$HOME/bags/run1 checkpoint:=/path/to/checkpoint

It runs in a ROS_DOMAIN_ID that no robot is in, which the first line names.
"""

from launch import LaunchDescription

from groot_ros.bringup.launch_description import describe_replay


def generate_launch_description() -> LaunchDescription:
    return describe_replay()
