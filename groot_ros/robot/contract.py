# SPDX-License-Identifier: Apache-2.0
"""The robot contract: one record, read from `config/robots/*.yaml`."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from groot_ros.core.config_reader import Fields
from groot_ros.core.share import share_directory
from groot_ros.robot import version_1
from groot_ros.robot.controller import Controller, read_controller
from groot_ros.robot.fields import ContractError
from groot_ros.robot.inputs import Camera, JointStateSource, read_camera, read_inputs
from groot_ros.robot.joint import Joint, read_joint
from groot_ros.robot.limit_sources import (
    StatedLimits,
    read_joint_limits,
    read_urdf,
    tightest,
)
from groot_ros.robot.outputs import ActionGroupMap, read_outputs
from groot_ros.robot.speed_scaling import SpeedScalingTopic, read_speed_scaling
from groot_ros.robot.table import Table, read_table

#: Newest version of the format.
VERSION = 2
#: Time between the steps of a chunk, s.
MIN_ACTION_DT, MAX_ACTION_DT = 0.001, 1.0
#: Largest number of joints.
MAX_JOINTS = 256


@dataclass(frozen=True)
class RobotContract:
    """Joints, inputs, outputs and controllers of one robot.

    Attributes:
        robot: name of the robot.
        action_dt: time between the steps of a chunk, s; checkpoints do not state it.
        joints: by name, in the contract's order; also joints that are only read.
        state_groups: state group of the checkpoint -> joints of its columns, in column order.
        action_groups: action group of the checkpoint -> what its columns move.
        cameras: by view, as the checkpoint names them.
        sources: where joints are measured; a joint in at most one.
        controllers: a joint in at most one.
        warnings: what the user should change, one line each.
        model: file of the robot's kinematics, for the simulator and for motion to poses; None if
            not stated.
        speed_scaling: where the robot reports its speed scaling; None if nowhere.
        urdf: file with joint limits, also shown by views; None if not stated.
        table: area for policies whose actions are poses; None if not stated.

    """

    robot: str
    action_dt: float
    joints: Mapping[str, Joint]
    state_groups: Mapping[str, tuple[str, ...]]
    action_groups: Mapping[str, ActionGroupMap]
    cameras: Mapping[str, Camera]
    sources: tuple[JointStateSource, ...]
    controllers: tuple[Controller, ...]
    warnings: tuple[str, ...] = ()
    model: Path | None = None
    speed_scaling: SpeedScalingTopic | None = None
    urdf: Path | None = None
    table: Table | None = None

    @property
    def joint_names(self) -> tuple[str, ...]:
        """Names of all joints, in the contract's order."""
        return tuple(self.joints)

    @property
    def measured_joints(self) -> frozenset[str]:
        """Names of the joints that a source measures."""
        return frozenset(joint for source in self.sources for joint in source.joints)

    @property
    def arm_joints(self) -> tuple[str, ...]:
        """Names of the measured joints that are no grippers: those that carry a camera."""
        measured = self.measured_joints
        return tuple(j for j, joint in self.joints.items() if not joint.gripper and j in measured)

    def fingerprint(self, namespace: str = "") -> str:
        """Return 12 hexadecimal digits that identify this robot and its cameras.

        They depend on the robot's name, the views with their topics, the names of the joints and
        the namespace; not on the order, nor on limits, units, rates and latencies.
        """
        identity = {
            "robot": self.robot,
            "namespace": namespace.strip("/"),
            "cameras": {view: camera.topic for view, camera in self.cameras.items()},
            "joints": sorted(self.joints),
        }
        text = json.dumps(identity, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def select_state(self, positions: Mapping[str, float]) -> dict[str, NDArray[np.float64]]:
        """Return state group -> [D], rad or m, by joint name; KeyError names a missing joint."""
        return {
            group: np.array([positions[j] for j in joints], dtype=np.float64)
            for group, joints in self.state_groups.items()
        }

    def state_to_model(self, group: str, values: ArrayLike) -> NDArray[np.float64]:
        """Convert a state group, [..., D], from rad or m to the checkpoint's units."""
        units = [self.joints[joint].units for joint in self.state_groups[group]]
        array = np.asarray(values, dtype=np.float64)
        return np.stack([u.to_model(array[..., i]) for i, u in enumerate(units)], axis=-1)

    def state_to_si(self, group: str, values: ArrayLike) -> NDArray[np.float64]:
        """Convert a state group, [..., D], from the checkpoint's units to rad or m."""
        units = [self.joints[joint].units for joint in self.state_groups[group]]
        array = np.asarray(values, dtype=np.float64)
        return np.stack([u.to_si(array[..., i]) for i, u in enumerate(units)], axis=-1)

    def action_to_si(self, group: str, columns: ArrayLike) -> NDArray[np.float64]:
        """Convert an action group, [..., D], to the targets of its joints, [..., J] rad or m."""
        mapped = self.action_groups[group]
        targets = mapped.to_joints(columns)
        for i, joint in enumerate(mapped.joints):
            targets[..., i] = self.joints[joint].action_units.to_si(targets[..., i])
        return targets

    def action_to_model(self, group: str, targets: ArrayLike, width: int) -> NDArray[np.float64]:
        """Convert targets of a group's joints, [..., J] rad or m, to its columns [..., width].

        Columns that move nothing are NaN.
        """
        mapped = self.action_groups[group]
        converted = np.array(targets, dtype=np.float64)
        for i, joint in enumerate(mapped.joints):
            converted[..., i] = self.joints[joint].action_units.to_model(converted[..., i])
        return mapped.to_columns(converted, width)


def load_contract(path: str | Path) -> RobotContract:
    """Read and check a contract of any version.

    Raises:
        ContractError: names the file, the key, and how to fix it.

    """
    path = Path(path)
    root = Fields.read(path, syntax="yaml", error_type=ContractError)
    return _parse_any(root, path.parent)


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
    return _parse_any(root, folder or Path())


def version_of(root: Fields) -> int:
    """Return the version of a contract; without the key it is 1 unless it has `inputs`."""
    newest = VERSION if root.has("inputs") or root.has("outputs") else 1
    return root.integer("version", newest, at_least=1, at_most=VERSION)


def _parse_any(root: Fields, folder: Path) -> RobotContract:
    if version_of(root) == VERSION:
        old = [key for key in version_1.FORMER_KEYS if key in root.value]
        if old and "inputs" not in root.value:
            raise root.error(
                "version",
                f"is {VERSION}, but '{old[0]}' is a key of version 1: remove 'version', then "
                "convert the file with 'groot-ros contract upgrade'",
            )
        return _parse(root, folder)
    try:
        new = Fields(
            version_1.upgrade(root), root.where, error_type=root.error_type, strict=root.strict
        )
        warning = (
            f"{root.where}: is a robot contract of version 1, which the next release will not "
            f"read: convert it with 'groot-ros contract upgrade'"
        )
        return _parse(new, folder, (warning,))
    except ContractError as error:
        raise ContractError(version_1.as_version_1(str(error))) from error


def _parse(root: Fields, folder: Path, warnings: tuple[str, ...] = ()) -> RobotContract:
    version_of(root)
    names = root.section("joints").value.keys()
    if len(names) > MAX_JOINTS:
        raise root.error("joints", f"has {len(names)} entries, at most {MAX_JOINTS} are supported")
    other_limits = _read_other_limits(root, folder, names)
    joints = {
        name: read_joint(name, section, other_limits(name))
        for name, section in root.sections("joints")
    }
    robot = root.name("robot")
    action_dt = root.number("action_dt", at_least=MIN_ACTION_DT, at_most=MAX_ACTION_DT)
    controllers = tuple(read_controller(s, joints) for s in root.section_list("controllers"))
    _check_each_once(root, "controllers", [c.joints for c in controllers])
    _check_distinct(root, "controllers", "topic", [c.topic for c in controllers])
    _check_distinct(root, "controllers", "name", [c.name for c in controllers])
    commanded = [joint for controller in controllers for joint in controller.joints]
    inputs = read_inputs(root.section("inputs"), joints, commanded)
    contract = RobotContract(
        robot,
        action_dt,
        joints,
        inputs.state,
        read_outputs(root, joints, controllers),
        {name: read_camera(name, s) for name, s in root.sections("cameras")},
        inputs.sources,
        controllers,
        warnings,
        _model_file(root.name("model"), folder) if root.has("model") else None,
        read_speed_scaling(root),
        folder / root.name("urdf") if root.has("urdf") else None,
        read_table(root),
    )
    root.finish()
    cameras = contract.cameras.values()
    topics = [*(c.topic for c in cameras), *(c.labels.topic for c in cameras if c.labels)]
    _check_distinct(root, "cameras", "topic", topics)
    _check_distinct(root, "inputs", "topic", [s.topic for s in contract.sources])
    return contract


def _model_file(name: str, folder: Path) -> Path:
    """Return a path relative to the contract, else to config/robots: a copied contract has it."""
    shipped = share_directory() / "config" / "robots" / name
    return shipped if not (folder / name).exists() and shipped.is_file() else folder / name


def _read_other_limits(
    root: Fields, folder: Path, joints: Set[str]
) -> Callable[[str], StatedLimits]:
    """Return a function joint -> tightest limits in the files of `urdf:` and `joint_limits:`.

    A file without any of the contract's joints, as of another robot, is an error.
    """
    readers = {"urdf": read_urdf, "joint_limits": read_joint_limits}
    sources = []
    for key, read in readers.items():
        if root.has(key):
            path = folder / root.name(key)
            stated = read(path)
            if not stated.keys() & joints:
                raise root.error(
                    key,
                    f"names {path}, which has none of the contract's joints: is it a file of this "
                    "robot? Expand xacro files first",
                )
            sources.append(stated)
    return lambda name: tightest(source[name] for source in sources if name in source)


def _check_each_once(root: Fields, key: str, lists: Sequence[Sequence[str]]) -> None:
    owners = [joint for joints in lists for joint in joints]
    repeated = sorted({joint for joint in owners if owners.count(joint) > 1})
    if repeated:
        raise root.error(key, f"lists joint '{repeated[0]}' in more than one entry")


def _check_distinct(root: Fields, key: str, attribute: str, values: Sequence[str]) -> None:
    repeated = sorted({value for value in values if values.count(value) > 1})
    if repeated:
        raise root.error(key, f"uses {attribute} '{repeated[0]}' more than once")
