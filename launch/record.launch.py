# SPDX-License-Identifier: Apache-2.0
"""Record the graph of a robot contract, as MCAP.

    ros2 launch groot_ros record.launch.py robot:=so101 output:=$HOME/bags/run1
    ros2 launch groot_ros record.launch.py robot:=so101 output:=$HOME/demos episodes:=true

It runs `ros2 bag record` where rosbag2 is installed, and recorder_node elsewhere and for episodes.
"""

from launch import LaunchDescription

from groot_ros.bringup.launch_description import describe_recording


def generate_launch_description() -> LaunchDescription:
    return describe_recording()
