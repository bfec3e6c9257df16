# SPDX-License-Identifier: Apache-2.0
"""Write an episode of a data set as a bag, to replay it, evaluate a policy on it, or look at it.

Converting the bag again gives the same rows. Images are written as rgb8, and the contract in the
bag says so; they are those of the video, with its losses.
"""

import heapq
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray
from rosbags.interfaces import Nodetype
from rosbags.interfaces.typing import FieldDesc
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from groot_ros.bags.definitions import MessageDefinitions
from groot_ros.bags.episode import EpisodeInfo, Outcome
from groot_ros.bags.writer import BagWriter
from groot_ros.core import NS_PER_S, ControlSource
from groot_ros.datasets import DatasetError
from groot_ros.datasets.features import INTERVENTION, STAMP
from groot_ros.datasets.reader import Dataset, Episode
from groot_ros.robot import RobotContract
from groot_ros.robot.contract import parse_contract

_IMAGE, _JOINTS = "sensor_msgs/msg/Image", "sensor_msgs/msg/JointState"
_TIMELINE, _STATE = "groot_ros/msg/CommittedTimeline", "groot_ros/msg/ExecutorState"
_INSTRUCTION = "groot_ros/msg/Instruction"
#: Time of the first row where a data set does not state any.
_FIRST_NS = NS_PER_S
#: Session of the recorded motion; it may not be empty.
_SESSION = "dataset"

#: Time of reception in ns, topic, type, fields.
_Event = tuple[int, str, str, dict[str, Any]]


def episode_to_bag(dataset: Dataset, number: int, out: Path, robot: Path | None = None) -> int:
    """Write one episode as a bag; return the number of messages.

    Args:
        dataset: its groups must be those of the contract.
        number: index of the episode.
        out: directory of the bag; must not exist yet.
        robot: file of the robot contract; by default the one in the data set.

    Raises:
        DatasetError: there is no such episode or no contract, or they do not fit.
        BagError: the bag cannot be written.

    """
    if not 0 <= number < len(dataset.episodes):
        raise DatasetError(
            f"{dataset.path} has no episode {number}: it has 0 to {len(dataset.episodes) - 1}"
        )
    episode = dataset.episodes[number]
    stored = dataset.description.robot
    if robot is None:
        text, file = str(stored.get("contract", "")), str(stored.get("contract_file", ""))
    else:
        text, file = robot.read_text(encoding="utf-8"), str(robot.absolute())
    if not text:
        raise DatasetError(f"{dataset.path} contains no robot contract: give one with --robot")
    text, contract = _with_rgb8(text, Path(file).parent if file else None)
    for kind, groups in (("state", contract.state_groups), ("action", contract.action_groups)):
        for group in groups:
            dataset.group_slice(kind, group)
    instructions = episode.instructions()
    info = EpisodeInfo(
        robot=contract.robot,
        contract=text,
        contract_file=file,
        fingerprint=contract.fingerprint(),
        instruction=instructions[0],
        outcome=_outcome(episode),
    )
    times = _times(dataset, episode)
    streams = [
        _joint_states(contract, episode, times),
        _timelines(contract, episode, times),
        _instructions(instructions, times),
        _interventions(episode, times),
        *(_images(contract, episode, view, times) for view in contract.cameras),
    ]
    with MessageWriter(out, info) as output:
        for stamp, topic, name, fields in heapq.merge(*streams, key=lambda event: event[0]):
            output.write(topic, name, stamp, fields)
        return sum(output.counts.values())


def write_bag(path: Path, folder: Path, number: int, *, robot: Path | None = None) -> Path:
    """Write one episode of the data set at `path` as a bag in `folder`; return its directory."""
    out = folder / f"episode_{number:06d}"
    episode_to_bag(Dataset(path), number, out, robot)
    return out


def _with_rgb8(text: str, folder: Path | None) -> tuple[str, RobotContract]:
    """Return a contract whose cameras have the encoding rgb8, as text and parsed."""
    contract = parse_contract(yaml.safe_load(text), "contract of the data set", folder)
    if any(camera.encoding != "rgb8" for camera in contract.cameras.values()):
        value = yaml.safe_load(text)
        for camera in value["cameras"].values():
            camera["encoding"] = "rgb8"
        text = yaml.safe_dump(value, sort_keys=False)
        contract = parse_contract(value, "contract of the data set", folder)
    return text, contract


def _times(dataset: Dataset, episode: Episode) -> NDArray[np.int64]:
    if STAMP in dataset.description.features:
        return episode.column(STAMP).astype(np.int64)
    rows = np.arange(episode.length)
    return _FIRST_NS + np.round(rows * (NS_PER_S / dataset.fps)).astype(np.int64)


def _outcome(episode: Episode) -> Outcome:
    try:
        return Outcome(str(episode.entry.get("outcome", "unknown")))
    except ValueError:
        return Outcome.UNKNOWN


def _joint_states(
    contract: RobotContract, episode: Episode, times: NDArray[np.int64]
) -> Iterator[_Event]:
    positions: dict[str, NDArray[np.float64]] = {}
    for group, joints in contract.state_groups.items():
        values = contract.state_to_si(group, _group(episode, "state", group, len(joints)))
        positions |= {joint: values[:, i] for i, joint in enumerate(joints)}
    for row, time in enumerate(times.tolist()):
        for source in contract.sources:
            names = [joint for joint in source.joints if joint in positions]
            if names:
                stamp = time + source.latency_ns
                values = np.array([positions[joint][row] for joint in names])
                fields = {"header": stamp, "name": names, "position": values}
                yield stamp, source.topic, _JOINTS, fields


def _timelines(
    contract: RobotContract, episode: Episode, times: NDArray[np.int64]
) -> Iterator[_Event]:
    """Yield the commands: at each row the one of this row and of the next."""
    names: list[str] = []
    parts = []
    for group, mapped in contract.action_groups.items():
        if mapped.joints:
            parts.append(contract.action_to_si(group, episode.group("action", group)))
            names += mapped.joints
    targets = np.concatenate(parts, axis=1)
    dt = 1.0 / episode.dataset.fps
    for row, time in enumerate(times.tolist()):
        ahead = targets[[row, min(row + 1, len(targets) - 1)]]
        fields = {
            "header": time,
            "id": row + 1,
            "session": _SESSION,
            "start": time,
            "dt": dt,
            "joint_names": names,
            "positions": ahead.ravel(),
            "velocities": np.tile(np.diff(ahead, axis=0)[0] / dt, 2),
        }
        yield time, "committed_timeline", _TIMELINE, fields


def _instructions(texts: Sequence[str], times: NDArray[np.int64]) -> Iterator[_Event]:
    before = None
    for number, (text, time) in enumerate(zip(texts, times.tolist(), strict=True), start=1):
        if text != before:
            fields = {"header": time, "text": text, "instruction_id": number}
            yield time, "active_instruction", _INSTRUCTION, fields
        before = text


def _interventions(episode: Episode, times: NDArray[np.int64]) -> Iterator[_Event]:
    if INTERVENTION not in episode.table.column_names:
        return
    before = None
    human = episode.column(INTERVENTION)
    for own, time in zip(human.tolist(), times.tolist(), strict=True):
        if own != before:
            source = ControlSource.HUMAN if own else ControlSource.POLICY
            fields = {"header": time, "control_source": int(source)}
            yield time, "executor_state", _STATE, fields
        before = own


def _images(
    contract: RobotContract, episode: Episode, view: str, times: NDArray[np.int64]
) -> Iterator[_Event]:
    camera = contract.cameras[view]
    for rgb, time in zip(episode.frames(view), times.tolist(), strict=True):
        height, width = rgb.shape[:2]
        stamp = time + camera.latency_ns
        fields = {
            "header": stamp,
            "height": height,
            "width": width,
            "encoding": "rgb8",
            "step": 3 * width,
            "data": rgb.reshape(-1),
        }
        yield stamp, camera.topic, _IMAGE, fields


def _group(episode: Episode, kind: str, group: str, width: int) -> NDArray[np.float64]:
    values = episode.group(kind, group)
    if values.shape[1] != width:
        raise DatasetError(
            f"{episode.rows}: {kind} group '{group}' has {values.shape[1]} columns, the robot "
            f"contract has {width} joints: is it a data set of another robot?"
        )
    return values


class MessageWriter:
    """Writes a bag of messages that are given as fields by name; the others are zero or empty.

    Args:
        path: directory of the bag; must not exist yet.
        info: description of the recording.

    """

    def __init__(self, path: Path, info: EpisodeInfo) -> None:
        self._types = get_typestore(Stores.EMPTY)
        self._definitions = MessageDefinitions()
        self._writer = BagWriter(path, episode=info.started_now(path.name))

    def __enter__(self) -> "MessageWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self._writer.close()

    @property
    def counts(self) -> Mapping[str, int]:
        """Return topic -> number of messages."""
        return self._writer.counts

    def write(self, topic: str, name: str, stamp_ns: int, fields: Mapping[str, Any]) -> None:
        """Write a message.

        Args:
            topic: its name; with or without the leading slash.
            name: type, "package/msg/Name".
            stamp_ns: time of reception.
            fields: by name; a time, or a header of which only the time is set, as ns.

        Raises:
            BagError: the type is unknown, or the disk is full.

        """
        topic = topic if topic.startswith("/") else f"/{topic}"
        if topic not in self._writer.counts:
            definition = self._definitions.find(name)
            self._types.register(get_types_from_msg(definition.text, name))
            self._writer.add_topic(topic, definition)
        message = self._message(name, fields)
        self._writer.write(topic, stamp_ns, bytes(self._types.serialize_cdr(message, name)))

    def _message(self, name: str, fields: Mapping[str, Any]) -> Any:
        _constants, described = self._types.fielddefs[name]
        values = {
            field: self._value(kind, fields[field]) if field in fields else self._zero(kind)
            for field, kind in described
        }
        return self._types.types[name](**values)

    def _value(self, kind: FieldDesc, value: Any) -> Any:
        if kind == (Nodetype.NAME, "std_msgs/msg/Header"):
            return self._message(str(kind[1]), {"stamp": value})
        if kind == (Nodetype.NAME, "builtin_interfaces/msg/Time"):
            seconds, nanoseconds = divmod(int(value), NS_PER_S)
            return self._types.types[str(kind[1])](sec=seconds, nanosec=nanoseconds)
        return value

    def _zero(self, kind: FieldDesc) -> Any:
        if kind[0] is Nodetype.NAME:
            return self._message(str(kind[1]), {})
        if kind[0] is Nodetype.BASE:
            base = str(kind[1][0])
            return "" if base == "string" else {"bool": False}.get(base, 0)
        element = kind[1][0]
        if element[0] is Nodetype.BASE and element[1][0] != "string":
            return np.zeros(0, dtype=element[1][0])
        return []
