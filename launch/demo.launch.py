# SPDX-License-Identifier: Apache-2.0
"""Start the simulated robot with policy and executor; uses the shipped checkpoint.

ros2 launch groot_ros demo.launch.py
groot-ros say push the green cube to the left
"""

from launch import LaunchDescription

from groot_ros.bringup.arguments import DEMO_ARGUMENTS
from groot_ros.bringup.launch_description import describe
from groot_ros.bringup.node_graph import demo_graph


def generate_launch_description() -> LaunchDescription:
    return describe(demo_graph, DEMO_ARGUMENTS)
