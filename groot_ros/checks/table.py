# SPDX-License-Identifier: Apache-2.0
"""Checks whether the table of the robot contract fits the model of the robot."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from groot_ros.checks.check import Check, NotApplicable, Problem, Severity
from groot_ros.core import ToolPose
from groot_ros.robot import RobotContract

if TYPE_CHECKING:
    from groot_ros.primitives import ArmKinematics


def _kinematics(robot: RobotContract) -> "ArmKinematics":
    """Return the kinematics of the arm; ValueError if the model does not fit the contract."""
    if robot.table is None:
        raise NotApplicable("the robot contract has no table")
    try:
        from groot_ros.primitives import ArmKinematics
    except ImportError as error:
        raise NotApplicable(
            f"the inverse kinematics cannot be imported ({error}): pip install 'groot_ros[vima]'"
        ) from error
    return ArmKinematics(robot)


def _table_model(robot: RobotContract) -> Iterator[Problem]:
    try:
        _kinematics(robot)
    except ValueError as error:
        yield Problem("table", f"does not fit the robot: {error}")


def _table_reach(robot: RobotContract) -> Iterator[Problem]:
    from groot_ros.primitives import UnreachableError

    try:
        kinematics = _kinematics(robot)
    except ValueError:
        return  # the other check reports it
    table = kinematics.table
    missing = []
    for x in table.x:
        for y in table.y:
            try:
                for z in (table.approach, table.pick_height):
                    kinematics.solve(ToolPose((x, y, z)), any_yaw=True)
            except UnreachableError:
                missing.append(f"({x:g}, {y:g})")
    if missing:
        yield Problem(
            "table", f"has corners that robot '{robot.robot}' cannot reach: {', '.join(missing)} m"
        )


CHECKS = (
    Check(
        "table_model",
        Severity.ERROR,
        "robot",
        "tool and joints of the table with the model of the robot",
        "correct 'table.tool', 'model' or 'joints'",
        ("robot",),
        _table_model,
    ),
    Check(
        "table_reach",
        Severity.WARNING,
        "robot",
        "the corners of the table with the reach of the arm",
        "actions there are rejected; make 'table.x' and 'table.y' smaller",
        ("robot",),
        _table_reach,
    ),
)
