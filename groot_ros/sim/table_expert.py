# SPDX-License-Identifier: Apache-2.0
"""Scripted experts at the table: they see where everything is and move the hand step by step.

The next command depends on the present command, on the scene and on the phase of the task, so an
expert can take over from any state that a policy or a disturbance leads to.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import mujoco
import numpy as np
from numpy.typing import NDArray

from groot_ros.sim.arm import SimulatedArm
from groot_ros.sim.hand_kinematics import ARM_JOINTS, HandKinematics, HandPose
from groot_ros.sim.table import PAN_AXIS, Scene, Touches

#: Time between two commands of an expert, s.
STEP = 0.1
#: Opening of the jaws, rad: around a cube, for a touch, and the set point of a grasp.
JAW_OPEN, JAW_CLOSED, JAW_GRASP = 0.60, -0.17, 0.0
#: Height of the grasp point while the hand travels, m: above everything on the table.
TRAVEL_HEIGHT = 0.09
#: Largest speed of the hand, m/s, and about the vertical, rad/s.
_SPEED, _TURN_SPEED = 0.28, 2.5
#: The hand slows down over the last part of a way, m and rad.
_SLOWING, _TURN_SLOWING = 0.028, 0.25
#: Largest change of a joint in a step, rad: 2 rad/s.
_MAX_JOINT_STEP = 0.2
#: The hand is at its target within this distance, m.
NEAR = 0.006
DOWN = np.pi / 2


@dataclass(frozen=True)
class Target:
    """Target of the hand.

    Attributes:
        point: of the expert's site, [3] m.
        jaw: set point of the gripper, rad.
        yaw: direction in which the jaws open, rad.
        speed: factor on the speed of the hand.

    """

    point: NDArray[np.float64]
    jaw: float
    yaw: float
    speed: float = 1.0


class TableExpert(ABC):
    """Expert for one scene; joint arrays are [6] rad in the order of the model's joints.

    Attributes:
        done: everything is achieved, and only rest follows.

    """

    #: Whether the hand rests when everything is achieved; otherwise the episode ends there.
    rests = True
    #: Site of the hand that targets are for.
    site = "grasp"

    def __init__(self, model: mujoco.MjModel, scene: Scene) -> None:
        self.scene = scene
        self.done = False
        self.touches = Touches(model)
        self._kinematics = HandKinematics(model, self.site)

    @abstractmethod
    def target(self, arm: SimulatedArm, hand: NDArray[np.float64]) -> Target:
        """Return where the hand should be; `hand` is where it is commanded to be, [3] m."""

    def next_command(self, command: NDArray[np.float64], arm: SimulatedArm) -> NDArray[np.float64]:
        """Return the command [6] of one step later, which the present one leads to linearly."""
        count = len(ARM_JOINTS)
        pose = self._kinematics.pose(command[:count])
        target = self.target(arm, pose.point)
        way = target.point - pose.point
        distance = float(np.linalg.norm(way))
        speed = target.speed * _SPEED * np.tanh(distance / _SLOWING)
        share = min(1.0, speed * STEP / max(distance, 1e-9))
        turn = _TURN_SPEED * np.tanh((target.yaw - pose.yaw) / _TURN_SLOWING) * STEP
        turn = float(np.clip(turn, *np.sort((0.0, target.yaw - pose.yaw))))
        wanted = HandPose(pose.point + share * way, DOWN, pose.yaw + turn)
        joints = self._kinematics.solve(wanted, command[:count])
        step = np.clip(joints - command[:count], -_MAX_JOINT_STEP, _MAX_JOINT_STEP)
        return np.append(command[:count] + step, target.jaw)


def radial_yaw(point: NDArray[np.float64]) -> float:
    """Return the direction from the pan axis to a point, rad."""
    return float(np.arctan2(point[1] - PAN_AXIS[1], point[0] - PAN_AXIS[0]))


def cube_yaw(arm: SimulatedArm, colour: str) -> float:
    """Return the direction of the cube's face that is nearest to the plane of the arm, rad."""
    rotation = arm.data.body(f"{colour}_cube").xmat.reshape(3, 3)
    # The axis of the cube that is most horizontal: a cube may have rolled over.
    axis = rotation[:, int(np.argmin(np.abs(rotation[2])))]
    yaw = float(np.arctan2(axis[1], axis[0]))
    radial = radial_yaw(arm.cubes[colour])
    return radial + (yaw - radial + np.pi / 4) % (np.pi / 2) - np.pi / 4
