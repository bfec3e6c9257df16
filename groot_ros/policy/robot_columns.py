# SPDX-License-Identifier: Apache-2.0
"""Convert between the columns of a checkpoint and the joints of a robot."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from groot_ros.core import ActionGroup, ActionKind
from groot_ros.core.config_reader import CheckpointError
from groot_ros.families.family import PolicySpec
from groot_ros.robot import RobotContract

Array = NDArray[np.float64]
_POSE_UNITS = ("m",) * 3 + ("1",) * 6
#: rad from half a turn within which absolute targets of a continuous joint may be of either sign.
_SEAM = math.pi / 4


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

    def state_to_model(self, groups: Mapping[str, Array]) -> dict[str, Array]:
        """Convert state group -> [T, D] from rad and m to the units of the checkpoint.

        Raises:
            ValueError: a group does not have one column per joint.

        """
        robot = self._robot
        if robot is None:
            return dict(groups)
        converted = dict(groups)
        for name in groups.keys() & robot.state_groups.keys():
            _check_width(name, groups[name], robot.state_groups[name])
            converted[name] = robot.state_to_model(name, groups[name])
        return converted

    def state_to_robot(self, groups: Mapping[str, Array]) -> dict[str, Array]:
        """Convert state group -> [T, D] from the units of the checkpoint to rad and m."""
        robot = self._robot
        if robot is None:
            return dict(groups)
        return {
            name: robot.state_to_si(name, values) if name in robot.state_groups else values
            for name, values in groups.items()
        }

    def action_to_model(self, groups: Mapping[str, Array]) -> dict[str, Array]:
        """Convert action group -> targets [K, J] in rad and m to columns of the checkpoint [K, D].

        Columns that move no joint are NaN.

        Raises:
            ValueError: a group does not have one target per joint.

        """
        robot = self._robot
        if robot is None:
            return dict(groups)
        converted = {}
        for name, values in groups.items():
            _check_width(name, values, robot.action_groups[name].joints)
            width = self._spec.action_groups[name]
            converted[name] = robot.action_to_model(name, values, width)
        return converted

    def prefix_to_model(
        self, prefix: Mapping[str, Array], state: Mapping[str, Array]
    ) -> dict[str, Array]:
        """Convert committed motion to columns of the checkpoint, as seen from a new state.

        The executor counts the turns of a continuous joint, a driver may not: each such joint is
        changed by whole turns, to begin nearest to the state, or to 0 without one. Its absolute
        targets near the seam of a driver that reports (-pi, pi] are left out: the data set has
        them on either side, and a mean of the two would be half a turn away.

        Args:
            prefix: action group -> targets [K, J] in rad and m.
            state: state group -> [T, D] in rad and m; the last step counts.

        """
        robot = self._robot
        if robot is None:
            return dict(prefix)
        endless = {name for name, joint in robot.joints.items() if joint.kind == "continuous"}
        if not endless:
            return self.action_to_model(prefix)
        now = {
            joint: float(state[group][-1, column])
            for group, joints in robot.state_groups.items()
            if group in state
            for column, joint in enumerate(joints)
        }
        relative = {r.group for r in self._spec.ranges if r.relative_to and r.modality == "action"}
        turned = {}
        for group, values in prefix.items():
            turned[group] = np.array(values, dtype=np.float64)
            for column, joint in enumerate(robot.action_groups[group].joints):
                if joint not in endless:
                    continue
                angles, near = turned[group][:, column], now.get(joint, 0.0)
                angles += math.tau * np.round((near - angles[0]) / math.tau)
                at_seam = bool((np.abs(angles) > math.pi - _SEAM).any())
                if group not in relative and at_seam and abs(near) <= math.pi:
                    angles[:] = np.nan
        return self.action_to_model(turned)

    def moves(self, name: str) -> bool:
        """Return whether an action group moves a joint of the robot, or there is no contract."""
        return (
            self._robot is None
            or name not in self._robot.action_groups
            or bool(self._robot.action_groups[name].maps)
        )

    def action_group(self, name: str, values: Array) -> ActionGroup:
        """Convert decoded columns [horizon, D] of one group to targets.

        With a contract they become the targets of its joints, in rad and m. An end-effector pose
        keeps the checkpoint's metres and becomes a group of one link.
        """
        if self._spec.action_space[name] == "pose":
            return ActionGroup(ActionKind.POSE_XYZ_ROT6D, name, (name,), _POSE_UNITS, values)
        if self._robot is None:
            names = tuple(f"{name}_{column}" for column in range(values.shape[1]))
            units = ("1",) * len(names)
            return ActionGroup(ActionKind.JOINT_POSITION, name, names, units, values)
        return joint_group(self._robot, name, self._robot.action_to_si(name, values))


def joint_group(robot: RobotContract, name: str, targets: Array) -> ActionGroup:
    """Return an action group of the contract with the targets of its joints [K, J], rad and m."""
    joints = [robot.joints[joint] for joint in robot.action_groups[name].joints]
    grippers = all(joint.gripper is not None for joint in joints)
    return ActionGroup(
        ActionKind.GRIPPER if grippers else ActionKind.JOINT_POSITION,
        name,
        tuple(joint.name for joint in joints),
        tuple(joint.unit for joint in joints),
        targets,
    )


def _check_width(name: str, values: Array, joints: Sequence[str]) -> None:
    if values.ndim != 2 or values.shape[1] != len(joints):
        raise ValueError(f"group '{name}' must be [T, {len(joints)}], not {list(values.shape)}")


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
    for name, width in spec.state_groups.items():
        joints = robot.state_groups.get(name)
        if joints is None:
            known = ", ".join(robot.state_groups) or "none"
            problems.append(f"state group '{name}' is not under 'inputs.state' (it has {known})")
        elif len(joints) != width:
            problems.append(
                f"state group '{name}' has {width} columns, the contract {len(joints)} joints "
                f"({', '.join(joints)})"
            )
    for name, width in spec.action_groups.items():
        if spec.action_space[name] != "joint":
            continue
        mapped = robot.action_groups.get(name)
        if mapped is None:
            known = ", ".join(robot.action_groups) or "none"
            problems.append(
                f"action group '{name}' is not under 'outputs' (it has {known}): map it, or list "
                f"{name}.* under 'ignore'"
            )
        elif problem := mapped.width_problem(width):
            problems.append(f"action group '{name}' {problem}")
    return problems


def commanded(spec: PolicySpec, robot: RobotContract) -> set[str]:
    """Return the action groups of the contract that a policy commands."""
    if spec.action == "pick_place":
        # The robot's own motion carries the tool between the poses.
        return set(robot.action_groups)
    return set(spec.action_groups.keys() & robot.action_groups.keys())


def unused_parts(spec: PolicySpec, robot: RobotContract) -> list[str]:
    """Return a phrase for each camera or joint of the contract that the checkpoint does not use.

    Joints that the checkpoint reads and no controller moves are in use.
    """
    moved = {joint for name in commanded(spec, robot) for joint in robot.action_groups[name].joints}
    read = {
        joint
        for name in spec.state_groups.keys() & robot.state_groups.keys()
        for joint in robot.state_groups[name]
    }
    movable = {joint for controller in robot.controllers for joint in controller.joints}
    phrases = [f"camera '{name}' is not used" for name in robot.cameras if name not in spec.views]
    for joint in robot.joints:
        if joint not in moved and (joint in movable or joint not in read):
            also = "" if joint in read else ", nor read"
            phrases.append(f"joint '{joint}' is not moved{also}")
    return phrases
