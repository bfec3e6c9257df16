"""Between the columns of a checkpoint and the joints of a robot."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from groot_ros.core import ActionGroup, ActionKind
from groot_ros.core.config_reader import CheckpointError
from groot_ros.processing.processor import Processor
from groot_ros.processing.state_action import StateActionCodec
from groot_ros.robot import RobotContract

Array = NDArray[np.float64]
_POSE_UNITS = ("m",) * 3 + ("1",) * 6


class RobotColumns:
    """Units and joint names of state and action groups; without a contract, the checkpoint's own.

    Raises CheckpointError when the contract lacks a view or a group of the checkpoint.
    """

    def __init__(self, processor: Processor, robot: RobotContract | None) -> None:
        self._codec = processor.codec
        self._robot = robot
        if robot is not None:
            require_counterparts(processor, robot)

    def to_model(self, groups: Mapping[str, Array]) -> dict[str, Array]:
        """Group -> [T, D] in rad and m to the units of the checkpoint.

        Raises ValueError when a group has another number of columns than joints.
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

    def action_group(self, name: str, values: Array) -> ActionGroup:
        """Decoded targets [horizon, D] of one group with names and units.

        End-effector poses keep the checkpoint's metres and become a group of one link.
        """
        if self._codec.is_pose(name):
            return ActionGroup(ActionKind.POSE_XYZ_ROT6D, name, (name,), _POSE_UNITS, values)
        if self._robot is None:
            names = tuple(f"{name}_{column}" for column in range(values.shape[1]))
            units = ("1",) * len(names)
            return ActionGroup(ActionKind.JOINT_POSITION, name, names, units, values)
        group = self._robot.groups[name]
        units = tuple(self._robot.joints[joint].unit for joint in group.joints)
        return ActionGroup(group.kind, name, group.joints, units, self._robot.to_si(name, values))


def require_counterparts(processor: Processor, robot: RobotContract) -> None:
    """Every view and group of the checkpoint must be in the contract; else CheckpointError."""
    problems = missing_counterparts(processor.views, processor.codec, robot)
    if problems:
        raise CheckpointError(
            f"embodiment '{processor.tag}' does not fit robot '{robot.robot}': "
            + "; ".join(problems)
        )


def missing_counterparts(
    views: Sequence[str], codec: StateActionCodec, robot: RobotContract
) -> list[str]:
    """One phrase for every view and group that the contract lacks, or has in another width."""
    problems = [
        f"camera '{view}' is not in the contract (it has {', '.join(robot.cameras) or 'none'})"
        for view in views
        if view not in robot.cameras
    ]
    for what, name, width in _wanted(codec):
        if name not in robot.groups:
            known = ", ".join(robot.groups)
            problems.append(f"{what} group '{name}' is not in the contract (it has {known})")
        elif len(joints := robot.groups[name].joints) != width:
            problems.append(
                f"{what} group '{name}' has {width} columns, the contract {len(joints)} joints "
                f"({', '.join(joints)})"
            )
    return problems


def unused_parts(views: Sequence[str], codec: StateActionCodec, robot: RobotContract) -> list[str]:
    """One phrase for every camera and joint of the contract that the checkpoint does not know."""
    moved = {j for g in codec.action_widths.keys() & robot.groups for j in robot.groups[g].joints}
    seen = {j for g in codec.state_widths.keys() & robot.groups for j in robot.groups[g].joints}
    phrases = [f"camera '{name}' is not looked at" for name in robot.cameras if name not in views]
    for joint in robot.joints:
        if joint not in moved:
            also = "" if joint in seen else ", nor read"
            phrases.append(f"joint '{joint}' is not moved{also}")
    return phrases


def _wanted(codec: StateActionCodec) -> Iterator[tuple[str, str, int]]:
    """("state" or "action", group, columns) that need joints; poses need none."""
    for name, width in codec.state_widths.items():
        yield "state", name, width
    for name, width in codec.action_widths.items():
        if not codec.is_pose(name):
            yield "action", name, width
