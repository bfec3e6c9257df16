"""The robot contract as one record, read from `config/robots/*.yaml`."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml
from numpy.typing import ArrayLike, NDArray

from groot_ros.core import ActionKind
from groot_ros.robot.controller import Controller, read_controller
from groot_ros.robot.distinct_keys import DistinctKeysLoader
from groot_ros.robot.joint import Joint, check_gripper, read_gripper, read_joint
from groot_ros.robot.limit_sources import (
    StatedLimits,
    read_joint_limits,
    read_urdf,
    tightest,
)
from groot_ros.robot.reader import ContractError, Section
from groot_ros.robot.sensor import Camera, JointStateSource, read_camera, read_joint_state_source

#: s between the steps of a chunk.
_STEP_RANGE = (0.001, 1.0)
_KINDS = {k.name.lower(): k for k in (ActionKind.JOINT_POSITION, ActionKind.GRIPPER)}


@dataclass(frozen=True)
class Group:
    """A modality group of the checkpoint and the joints behind its columns, in their order."""

    name: str
    joints: tuple[str, ...]
    kind: ActionKind


@dataclass(frozen=True)
class RobotContract:
    """What the robot is.

    Attributes:
        action_dt: s between the steps of a chunk; checkpoints do not say it.
        joints: by name, in the contract's order.
        groups: state and action groups, by the checkpoint's names.

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
        """All joints, in the contract's order."""
        return tuple(self.joints)

    def select_state(self, positions: Mapping[str, float]) -> dict[str, NDArray[np.float64]]:
        """Group -> [D] rad or m, picked by joint name; raises KeyError naming a missing joint."""
        return {
            group.name: np.array([positions[j] for j in group.joints], dtype=np.float64)
            for group in self.groups.values()
        }

    def to_model(self, group: str, values: ArrayLike) -> NDArray[np.float64]:
        """Rad or m to the checkpoint's units, [..., D] of one group."""
        array = np.asarray(values, dtype=np.float64)
        columns = [
            self.joints[joint].units.to_model(array[..., i])
            for i, joint in enumerate(self.groups[group].joints)
        ]
        return np.stack(columns, axis=-1)

    def to_si(self, group: str, values: ArrayLike) -> NDArray[np.float64]:
        """The checkpoint's units to rad or m, [..., D] of one group."""
        array = np.asarray(values, dtype=np.float64)
        columns = [
            self.joints[joint].units.to_si(array[..., i])
            for i, joint in enumerate(self.groups[group].joints)
        ]
        return np.stack(columns, axis=-1)


def load_contract(path: str | Path) -> RobotContract:
    """Read and check a contract; ContractError names the file and the key."""
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ContractError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ContractError(f"{path}: is not a text file (UTF-8): {error.reason}") from error
    try:
        value = yaml.load(text, DistinctKeysLoader)
    except yaml.YAMLError as error:
        one_line = " ".join(str(error).split())
        raise ContractError(f"{path}: is not valid YAML: {one_line}") from error
    return parse_contract(value, f"{path}:", path.parent)


def parse_contract(
    value: object, where: str = "contract:", folder: Path | None = None
) -> RobotContract:
    """Check an already parsed contract.

    `where` begins every error; `folder` is what relative paths of other files begin at.
    """
    root = Section(value, where)
    elsewhere = _limits_elsewhere(root, folder or Path())
    grippers = dict(root.sections("gripper")) if root.has("gripper") else {}
    unit_maps = {name: read_gripper(section) for name, section in grippers.items()}
    joints = {
        name: read_joint(name, section, unit_maps.get(name), elsewhere(name))
        for name, section in root.sections("joints")
    }
    names = tuple(joints)
    for name, section in grippers.items():
        if name not in joints:
            raise ContractError(f"{section.where}: '{name}' is not under 'joints:' of the contract")
        check_gripper(section, joints[name])
    contract = RobotContract(
        robot=root.text("robot"),
        action_dt=_action_dt(root),
        joints=joints,
        groups=_read_groups(root, names),
        cameras={name: read_camera(name, s) for name, s in root.sections("cameras")},
        joint_states=tuple(read_joint_state_source(s, names) for s in root.items("joint_states")),
        controllers=tuple(read_controller(s, names) for s in root.items("controllers")),
    )
    root.finish()
    _each_once(root, "joint_states", [s.joints for s in contract.joint_states], names)
    _each_once(root, "controllers", [c.joints for c in contract.controllers])
    _each_once(root, "groups", [g.joints for g in contract.groups.values()])
    _all_driven(root, contract)
    _different(root, "cameras", "topic", [c.topic for c in contract.cameras.values()])
    _different(root, "controllers", "topic", [c.topic for c in contract.controllers])
    _different(root, "controllers", "name", [c.name for c in contract.controllers])
    return contract


def _limits_elsewhere(root: Section, folder: Path) -> Callable[[str], StatedLimits]:
    """What `urdf:` and `joint_limits:` state of a joint."""
    readers = {"urdf": read_urdf, "joint_limits": read_joint_limits}
    sources = [read(folder / root.text(key)) for key, read in readers.items() if root.has(key)]
    return lambda name: tightest(source[name] for source in sources if name in source)


def _action_dt(root: Section) -> float:
    dt = root.number("action_dt", above=0.0)
    if not _STEP_RANGE[0] <= dt <= _STEP_RANGE[1]:
        raise root.error("action_dt", f"is {dt:g} s; steps last from 1 ms to 1 s")
    return dt


def _read_groups(root: Section, joints: tuple[str, ...]) -> dict[str, Group]:
    groups = {}
    for name, section in root.sections("groups"):
        kind = _KINDS[section.text("kind", "joint_position", choices=tuple(_KINDS))]
        group = Group(name, section.names("joints"), kind)
        for joint in group.joints:
            if joint not in joints:
                raise section.error("joints", f"'{joint}' is not under 'joints:' of the contract")
        section.finish()
        groups[name] = group
    return groups


def _each_once(
    root: Section, key: str, lists: Sequence[Sequence[str]], complete: Sequence[str] = ()
) -> None:
    owners = [joint for joints in lists for joint in joints]
    repeated = sorted({j for j in owners if owners.count(j) > 1})
    if repeated:
        raise root.error(key, f"joint '{repeated[0]}' appears in more than one entry")
    missing = [j for j in complete if j not in owners]
    if missing:
        raise root.error(key, f"no entry covers joint '{missing[0]}'")


def _all_driven(root: Section, contract: RobotContract) -> None:
    actuated = {joint for controller in contract.controllers for joint in controller.joints}
    for group in contract.groups.values():
        for joint in group.joints:
            if joint not in actuated:
                raise root.error(
                    "controllers", f"none of them drives '{joint}' of group '{group.name}'"
                )


def _different(root: Section, key: str, what: str, values: Sequence[str]) -> None:
    repeated = sorted({v for v in values if values.count(v) > 1})
    if repeated:
        raise root.error(key, f"{what} '{repeated[0]}' is used more than once")
