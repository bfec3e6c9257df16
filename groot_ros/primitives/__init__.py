# SPDX-License-Identifier: Apache-2.0
"""From poses of a tool to joint paths: inverse kinematics, pick and place, push. No ROS, no torch.

Needs the extra `[vima]`: `mink` and MuJoCo.
"""

from groot_ros.primitives.joint_path import JointPath
from groot_ros.primitives.kinematics import ArmKinematics, UnreachableError
from groot_ros.primitives.motion import MotionSettings, plan_pick_place, plan_push

__all__ = [
    "ArmKinematics",
    "JointPath",
    "MotionSettings",
    "UnreachableError",
    "plan_pick_place",
    "plan_push",
]
