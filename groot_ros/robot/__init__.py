# SPDX-License-Identifier: Apache-2.0
"""The robot contract: one YAML file that describes the robot, read by every node."""

from groot_ros.robot.contract import Group, RobotContract, load_contract
from groot_ros.robot.controller import Controller
from groot_ros.robot.fields import ContractError
from groot_ros.robot.joint import Joint, JointLimits, UnitMap
from groot_ros.robot.sensor import Camera, JointStateSource

__all__ = [
    "Camera",
    "ContractError",
    "Controller",
    "Group",
    "Joint",
    "JointLimits",
    "JointStateSource",
    "RobotContract",
    "UnitMap",
    "load_contract",
]
