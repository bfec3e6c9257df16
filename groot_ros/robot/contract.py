# SPDX-License-Identifier: Apache-2.0
"""The robot contract: one record, read from `config/robots/*.yaml`."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from groot_ros.core import ActionKind
from groot_ros.core.config_reader import Fields
from groot_ros.robot.controller import Controller, read_controller
from groot_ros.robot.fields import ContractError, read_joint_names
from groot_ros.robot.joint import Joint, check_gripper, read_gripper, read_joint
from groot_ros.robot.limit_sources import (
    StatedLimits,
    read_joint_limits,
    read_urdf,
    tightest,
)
from groot_ros.robot.sensor import Camera, JointStateSource, read_camera, read_joint_state_source

#: Time between the steps of a chunk, s.
MIN_ACTION_DT, MAX_ACTION_DT = 0.001, 1.0
_KINDS = {k.name.lower(): k for k in (ActionKind.JOINT_POSITION, ActionKind.GRIPPER)}


@dataclass(frozen=True)
class Group:
    """A modality group of the checkpoint and the joints of its columns, in column order."""

    name: str
    joints: tuple[str, ...]
    kind: ActionKind


@dataclass(frozen=True)
class RobotContract:
    """Joints, groups, sensors and controllers of one robot.

    Attributes:
        robot: name of the robot.
        action_dt: time between the steps of a chunk, s; checkpoints do not state it.
        joints: by name, in the contract's order.
        groups: state and action groups, by the checkpoint's names.
        cameras: by view, as the checkpoint names them.
        joint_states: every joint is in exactly one source.
        controllers: a joint is in at most one.

    """

    robot: str
    action_dt: float
    joints: Mapping[str, Joint]
    groups: Mapping[str, Group]
    cameras: Mapping[str, Camera]
    joint_states: tuple[JointStateSource, ...]
    controllers: tuple[Controller, ...]

    @property
    def joint_names(self) -> tuple[str, ...]:
        """Names of all joints, in the contract's order."""
        return tuple(self.joints)

    def select_state(self, positions: Mapping[str, float]) -> dict[str, NDArray[np.float64]]:
        """Return group -> [D], rad or m, by joint name; KeyError names a missing joint."""
        return {
            group.name: np.array([positions[j] for j in group.joints], dtype=np.float64)
            for group in self.groups.values()
        }

    def to_model(self, group: str, values: ArrayLike) -> NDArray[np.float64]:
        """Convert one group, [..., D], from rad or m to the checkpoint's units."""
        array = np.asarray(values, dtype=np.float64)
        columns = [
            self.joints[joint].units.to_model(array[..., i])
            for i, joint in enumerate(self.groups[group].joints)
        ]
        return np.stack(columns, axis=-1)

    def to_si(self, group: str, values: ArrayLike) -> NDArray[np.float64]:
        """Convert one group, [..., D], from the checkpoint's units to rad or m."""
        array = np.asarray(values, dtype=np.float64)
        columns = [
            self.joints[joint].units.to_si(array[..., i])
            for i, joint in enumerate(self.groups[group].joints)
        ]
        return np.stack(columns, axis=-1)


def load_contract(path: str | Path) -> RobotContract:
    """Read and check a contract.

    Raises:
        ContractError: names the file, the key, and how to fix it.

    """
    path = Path(path)
    root = Fields.read(path, syntax="yaml", error_type=ContractError)
    return _parse(root, path.parent)


def parse_contract(
    value: object, where: str = "contract", folder: Path | None = None
) -> RobotContract:
    """Check an already parsed contract.

    Args:
        value: the mapping.
        where: name of the contract in error messages.
        folder: base of relative paths of other files; by default the current directory.

    """
    root = Fields(value, where, error_type=ContractError, strict=True)
    return _parse(root, folder or Path())


def _parse(root: Fields, folder: Path) -> RobotContract:
    other_limits = _read_other_limits(root, folder)
    grippers = dict(root.sections("gripper")) if root.has("gripper") else {}
    unit_maps = {name: read_gripper(section) for name, section in grippers.items()}
    joints = {
        name: read_joint(name, section, unit_maps.get(name), other_limits(name))
        for name, section in root.sections("joints")
    }
    names = tuple(joints)
    for name, section in grippers.items():
        if name not in joints:
            raise root.error("gripper", f"names '{name}', which is not under 'joints'")
        check_gripper(section, joints[name])
    contract = RobotContract(
        robot=root.name("robot"),
        action_dt=root.number("action_dt", at_least=MIN_ACTION_DT, at_most=MAX_ACTION_DT),
        joints=joints,
        groups=_read_groups(root, names),
        cameras={name: read_camera(name, s) for name, s in root.sections("cameras")},
        joint_states=tuple(
            read_joint_state_source(s, names) for s in root.section_list("joint_states")
        ),
        controllers=tuple(read_controller(s, names) for s in root.section_list("controllers")),
    )
    root.finish()
    _check_each_once(root, "joint_states", [s.joints for s in contract.joint_states], names)
    _check_each_once(root, "controllers", [c.joints for c in contract.controllers])
    _check_each_once(root, "groups", [g.joints for g in contract.groups.values()])
    _check_all_actuated(root, contract)
    _check_distinct(root, "cameras", "topic", [c.topic for c in contract.cameras.values()])
    _check_distinct(root, "controllers", "topic", [c.topic for c in contract.controllers])
    _check_distinct(root, "controllers", "name", [c.name for c in contract.controllers])
    return contract


def _read_other_limits(root: Fields, folder: Path) -> Callable[[str], StatedLimits]:
    """Return a function joint -> tightest limits in the files of `urdf:` and `joint_limits:`."""
    readers = {"urdf": read_urdf, "joint_limits": read_joint_limits}
    sources = [read(folder / root.name(key)) for key, read in readers.items() if root.has(key)]
    return lambda name: tightest(source[name] for source in sources if name in source)


def _read_groups(root: Fields, joints: tuple[str, ...]) -> dict[str, Group]:
    groups = {}
    for name, section in root.sections("groups"):
        kind = _KINDS[section.choice("kind", tuple(_KINDS), "joint_position")]
        groups[name] = Group(name, read_joint_names(section, joints), kind)
        section.finish()
    return groups


def _check_each_once(
    root: Fields, key: str, lists: Sequence[Sequence[str]], required: Sequence[str] = ()
) -> None:
    owners = [joint for joints in lists for joint in joints]
    repeated = sorted({joint for joint in owners if owners.count(joint) > 1})
    if repeated:
        raise root.error(key, f"lists joint '{repeated[0]}' in more than one entry")
    missing = [joint for joint in required if joint not in owners]
    if missing:
        raise root.error(key, f"has no entry that lists joint '{missing[0]}'")


def _check_all_actuated(root: Fields, contract: RobotContract) -> None:
    actuated = {joint for controller in contract.controllers for joint in controller.joints}
    for group in contract.groups.values():
        for joint in group.joints:
            if joint not in actuated:
                raise root.error(
                    "controllers", f"has no entry that drives '{joint}' of group '{group.name}'"
                )


def _check_distinct(root: Fields, key: str, attribute: str, values: Sequence[str]) -> None:
    repeated = sorted({value for value in values if values.count(value) > 1})
    if repeated:
        raise root.error(key, f"uses {attribute} '{repeated[0]}' more than once")
