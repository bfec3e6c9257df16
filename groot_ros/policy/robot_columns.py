# SPDX-License-Identifier: Apache-2.0
"""Convert between the columns of a checkpoint and the joints of a robot."""

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from groot_ros.core import ActionGroup, ActionKind
from groot_ros.core.config_reader import CheckpointError
from groot_ros.families.family import PolicySpec
from groot_ros.robot import RobotContract

Array = NDArray[np.float64]
_POSE_UNITS = ("m",) * 3 + ("1",) * 6


class RobotColumns:
    """Converts state and action groups between the checkpoint's units and the robot's.

    Without a contract the values keep the checkpoint's units. Raises CheckpointError if the
    contract lacks a view or a group of the checkpoint.
    """

    def __init__(self, spec: PolicySpec, robot: RobotContract | None) -> None:
        self._spec = spec
        self._robot = robot
        if robot is not None:
            require_counterparts(spec, robot)

    def to_model(self, groups: Mapping[str, Array]) -> dict[str, Array]:
        """Convert group -> [T, D] from rad and m to the units of the checkpoint.

        Raises:
            ValueError: a group does not have one column per joint.

        """
        robot = self._robot
        if robot is None:
            return dict(groups)
        converted = dict(groups)
        for name in groups.keys() & robot.groups.keys():
            values, joints = groups[name], robot.groups[name].joints
            if values.ndim != 2 or values.shape[1] != len(joints):
                raise ValueError(
                    f"group '{name}' must be [T, {len(joints)}], not {list(values.shape)}"
                )
            converted[name] = robot.to_model(name, values)
        return converted

    def to_robot(self, groups: Mapping[str, Array]) -> dict[str, Array]:
        """Convert group -> [T, D] from the units of the checkpoint to rad and m."""
        robot = self._robot
        if robot is None:
            return dict(groups)
        return {
            name: robot.to_si(name, values) if name in robot.groups else values
            for name, values in groups.items()
        }

    def action_group(self, name: str, values: Array) -> ActionGroup:
        """Convert decoded targets [horizon, D] of one group to an action group.

        Joints are converted to rad and m if there is a contract. An end-effector pose keeps the
        checkpoint's metres and becomes a group of one link.
        """
        if self._spec.action_space[name] == "pose":
            return ActionGroup(ActionKind.POSE_XYZ_ROT6D, name, (name,), _POSE_UNITS, values)
        if self._robot is None:
            names = tuple(f"{name}_{column}" for column in range(values.shape[1]))
            units = ("1",) * len(names)
            return ActionGroup(ActionKind.JOINT_POSITION, name, names, units, values)
        group = self._robot.groups[name]
        units = tuple(self._robot.joints[joint].unit for joint in group.joints)
        return ActionGroup(group.kind, name, group.joints, units, self._robot.to_si(name, values))


def require_counterparts(spec: PolicySpec, robot: RobotContract) -> None:
    """Raise CheckpointError unless the contract has every view and group of the checkpoint."""
    problems = missing_counterparts(spec, robot)
    if problems:
        raise CheckpointError(
            f"embodiment '{spec.embodiment}' does not fit robot '{robot.robot}': "
            + "; ".join(problems)
        )


def missing_counterparts(spec: PolicySpec, robot: RobotContract) -> list[str]:
    """Return a phrase for each view or group that the contract lacks, or has with another width."""
    problems = [
        f"camera '{view}' is not in the contract (it has {', '.join(robot.cameras) or 'none'})"
        for view in spec.views
        if view not in robot.cameras
    ]
    for what, name, width in _groups(spec):
        if name not in robot.groups:
            known = ", ".join(robot.groups)
            problems.append(f"{what} group '{name}' is not in the contract (it has {known})")
        elif len(joints := robot.groups[name].joints) != width:
            problems.append(
                f"{what} group '{name}' has {width} columns, the contract {len(joints)} joints "
                f"({', '.join(joints)})"
            )
    return problems


def unused_parts(spec: PolicySpec, robot: RobotContract) -> list[str]:
    """Return a phrase for each camera or joint of the contract that the checkpoint does not use."""
    moved = {j for g in spec.action_groups.keys() & robot.groups for j in robot.groups[g].joints}
    read = {j for g in spec.state_groups.keys() & robot.groups for j in robot.groups[g].joints}
    phrases = [f"camera '{name}' is not used" for name in robot.cameras if name not in spec.views]
    for joint in robot.joints:
        if joint not in moved:
            also = "" if joint in read else ", nor read"
            phrases.append(f"joint '{joint}' is not moved{also}")
    return phrases


def _groups(spec: PolicySpec) -> Iterator[tuple[str, str, int]]:
    """Yield ("state" or "action", group, columns) of the groups whose columns are joints."""
    for name, width in spec.state_groups.items():
        yield "state", name, width
    for name, width in spec.action_groups.items():
        if spec.action_space[name] == "joint":
            yield "action", name, width
