# SPDX-License-Identifier: Apache-2.0
"""Start policy and executor for your robot.

    ros2 launch groot_ros policy.launch.py checkpoint:=/path/to/checkpoint robot:=so101

`--show-args` lists the arguments; tuning parameters belong in params_file.
"""

from launch import LaunchDescription

from groot_ros.bringup.launch_description import describe
from groot_ros.bringup.node_graph import policy_graph


def generate_launch_description() -> LaunchDescription:
    return describe(policy_graph)
