"""The robot contract: what the robot is, in one YAML file that every node reads."""

from groot_ros.robot.contract import Group, RobotContract, load_contract
from groot_ros.robot.controller import Controller
from groot_ros.robot.joint import Joint, JointLimits
from groot_ros.robot.reader import ContractError
from groot_ros.robot.sensor import Camera, JointStateSource
from groot_ros.robot.units import UnitMap

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
