# SPDX-License-Identifier: Apache-2.0
"""The robot contract: one YAML file that describes the robot, read by every node."""

from groot_ros.robot.contract import RobotContract, load_contract
from groot_ros.robot.controller import Controller
from groot_ros.robot.fields import ContractError
from groot_ros.robot.inputs import Camera, JointStateSource
from groot_ros.robot.joint import Joint, JointLimits, UnitMap
from groot_ros.robot.outputs import ActionGroupMap
from groot_ros.robot.table import Table

__all__ = [
    "ActionGroupMap",
    "Camera",
    "ContractError",
    "Controller",
    "Joint",
    "JointLimits",
    "JointStateSource",
    "RobotContract",
    "Table",
    "UnitMap",
    "load_contract",
]
