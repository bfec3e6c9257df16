# SPDX-License-Identifier: Apache-2.0
"""Execution of pick-and-place actions at the simulated table: by the arm, or without it."""

from functools import lru_cache

import numpy as np

from groot_ros.core import ToolPose, ns_to_s
from groot_ros.primitives import ArmKinematics, plan_pick_place
from groot_ros.rollout.pose_bins import yaw_of
from groot_ros.rollout.prompt_episode import prompt_simulator
from groot_ros.sim.prompt_table import PromptTable


def move_with_arm(table: PromptTable, pick: ToolPose, place: ToolPose) -> None:
    """Drive the arm along the path of the primitive, and wait until everything rests.

    The suction cup holds what it touches.

    Raises:
        UnreachableError: the arm cannot do this; nothing has moved.

    """
    arm = table.arm
    start = dict(zip(arm.joints, arm.positions, strict=True))
    path = plan_pick_place(_kinematics(), start, pick, place)
    columns = [arm.joints.index(joint) for joint in path.joints]
    period = ns_to_s(prompt_simulator().robot.period_ns)
    command = np.full(len(arm.joints), np.nan)
    for row in path.sample(period, period, int(np.ceil(path.duration / period))):
        command[columns] = row
        arm.command(command)
        arm.step()
    table.settle()


def move_without_arm(table: PromptTable, pick: ToolPose, place: ToolPose) -> None:
    """Put the object where it would be moved to; it falls from just above the surface."""
    x, y, _ = pick.position
    to_x, to_y, _ = place.position
    turned = yaw_of(np.array(pick.rotation)), yaw_of(np.array(place.rotation))
    table.carry((x, y, turned[0]), (to_x, to_y, turned[1]))


@lru_cache(maxsize=1)
def _kinematics() -> ArmKinematics:
    return ArmKinematics(prompt_simulator().contract)
