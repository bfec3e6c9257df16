# SPDX-License-Identifier: Apache-2.0
"""The small streams of a bag while it is read: stamps, joint positions, commands, chunks."""

import struct
from array import array
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rosbags.serde import SerdeError
from rosbags.typesys.store import Typestore

from groot_ros.bags import BagError
from groot_ros.bags.commands import CommandCollector
from groot_ros.bags.reader import MESSAGE_VERSION, decode, recorded_version
from groot_ros.bags.streams import ImageStream, JointSamples, OrderedStamps
from groot_ros.core import (
    NS_PER_S,
    ActionChunk,
    CommittedTimeline,
    ControlSource,
    MalformedError,
    ns_to_s,
    time_to_ns,
)
from groot_ros.core.messages import chunk_from_msg, timeline_from_msg
from groot_ros.robot import Camera, RobotContract

#: Topic -> type that a policy or executor publishes; "instruction" is an input of version 0.2.
NODE_TOPICS = {
    "action_chunk": "groot_ros/msg/ActionChunk",
    "committed_timeline": "groot_ros/msg/CommittedTimeline",
    "executor_state": "groot_ros/msg/ExecutorState",
    "active_instruction": "groot_ros/msg/Instruction",
    "instruction": "std_msgs/msg/String",
}

#: Encoding and stamp at the beginning of a message with a header.
_HEADER_BYTES = 12
#: Stamps of one clock are received with delays that differ by less than this.
_SAME_CLOCK_NS = NS_PER_S


@dataclass(frozen=True)
class BagInput:
    """One message of a camera or a joint state source.

    Attributes:
        name: view, or topic of the source in the contract.
        image: True for a camera.
        received_ns: stamp in the bag.
        header_ns: stamp in the header.

    """

    name: str
    image: bool
    received_ns: int
    header_ns: int
    _raw: bytes
    _msgtype: str
    _types: Typestore

    def message(self) -> Any:
        """Return the deserialised message; the streams and the buffers use the same one."""
        return self._message

    @cached_property
    def _message(self) -> Any:
        return decode(self._types, self._raw, self._msgtype)


@dataclass(frozen=True)
class RecordedChunk:
    """A chunk that a policy published, and when the recorder received it."""

    received_ns: int
    chunk: ActionChunk


class StreamCollector:
    """Collects everything small of a bag.

    Args:
        path: of the bag, for messages.
        contract: the robot.
        cameras: view -> camera, of those that are read.
        start_ns: stamp of the bag's first message.
        types: message types as the bag defines them.

    """

    def __init__(
        self,
        path: Path,
        contract: RobotContract,
        cameras: Mapping[str, Camera],
        start_ns: int,
        types: Typestore,
    ) -> None:
        self._path = path
        self._contract = contract
        self._cameras = cameras
        self._start_ns = start_ns
        self._order = {v: OrderedStamps(f"camera '{v}'") for v in cameras}
        self._images = {v: _Stamps() for v in cameras}
        #: Stream -> least ns from a stamp to its reception.
        self._delays: dict[str, int] = {}
        self._sources = {s.topic: s for s in contract.sources}
        self.joints = _JointCollector(path, contract)
        self.leader = _JointCollector(path, contract)
        self.commands = CommandCollector(contract)
        self.instructions: list[tuple[int, str]] = []
        self.interventions: list[tuple[int, bool]] = []
        self.chunks: list[RecordedChunk] = []
        self.timelines: list[tuple[int, CommittedTimeline]] = []
        self._active = False
        self._malformed: dict[str, tuple[int, str]] = {}
        self._old = {
            kind: version
            for kind, msgtype in NODE_TOPICS.items()
            if kind in ("action_chunk", "committed_timeline", "executor_state")
            and msgtype in types.fielddefs
            and (version := recorded_version(msgtype, types)) != MESSAGE_VERSION
        }

    def add_input(self, item: BagInput) -> None:
        """Take an image or a joint state."""
        since = ns_to_s(item.received_ns - self._start_ns)
        try:
            if item.image:
                camera = self._cameras[item.name]
                stamp = self._stamp(f"camera '{item.name}'", camera.stamp, item)
                stamp -= camera.latency_ns
                if self._order[item.name].accepts(stamp, since):
                    self._images[item.name].append(stamp, item.header_ns, item.received_ns)
            else:
                source = self._sources[item.name]
                stamp = self._stamp(f"'{item.name}'", source.stamp, item) - source.latency_ns
                self.joints.add(item.name, source.joints, item.message(), stamp, since)
        except BagError as error:
            raise BagError(f"bag {self._path}: {error}") from error

    def add_message(self, kind: str, name: str, message: Any, received_ns: int) -> None:
        """Take a message of policy, executor, controller or leader."""
        if kind in self._old:
            return
        try:
            match kind:
                case "action_chunk":
                    self.chunks.append(RecordedChunk(received_ns, chunk_from_msg(message)))
                case "committed_timeline":
                    timeline = timeline_from_msg(message)
                    self.timelines.append((received_ns, timeline))
                    self.commands.add_timeline(timeline, received_ns)
                case "executor_state":
                    self.commands.shadow |= bool(message.shadow)
                    human = message.control_source == ControlSource.HUMAN
                    if not self.interventions or self.interventions[-1][1] != human:
                        self.interventions.append((received_ns, human))
                case "active_instruction":
                    # What is followed counts, not what was asked for.
                    if not self._active:
                        self.instructions.clear()
                    self._active = True
                    self._add_instruction(received_ns, message.text)
                case "instruction":
                    if not self._active:
                        self._add_instruction(received_ns, message.data)
                case "command":
                    self._add_command(name, message, received_ns)
                case "leader":
                    stamp = time_to_ns(message.header.stamp) or received_ns
                    since = ns_to_s(received_ns - self._start_ns)
                    joints = tuple(self._contract.joints)
                    try:
                        self.leader.add(name, joints, message, stamp, since)
                    except BagError as error:
                        raise BagError(f"bag {self._path}: {error}") from error
        except MalformedError as error:
            count, _ = self._malformed.get(kind, (0, ""))
            self._malformed[kind] = (count + 1, str(error))

    def require_one_clock(self) -> None:
        """Raise BagError if streams have stamps of different clocks, which cannot be combined."""
        if not self._delays:
            return
        late, early = (choose(self._delays, key=self._delays.__getitem__) for choose in (max, min))
        difference = self._delays[late] - self._delays[early]
        if difference > _SAME_CLOCK_NS:
            raise BagError(
                f"bag {self._path}: the stamps of {late} are {ns_to_s(difference):.3f} s behind "
                f"those of {early}, measured at their reception: synchronise the clocks, or set "
                "'stamp: arrival' in the robot contract"
            )

    def image_streams(self) -> dict[str, ImageStream]:
        """Return view -> its images."""
        return {
            view: ImageStream(view, self._cameras[view], *stamps.arrays())
            for view, stamps in self._images.items()
        }

    def repairs(self) -> tuple[str, ...]:
        """Return what was left out, one line each."""
        lines = [order.repair() for order in self._order.values()]
        lines += [*self.joints.repairs(), *self.leader.repairs()]
        lines += [
            f"{kind}: left out {count} malformed messages, the last one because of {why}"
            for kind, (count, why) in self._malformed.items()
        ]
        lines += [
            f"{kind}: not read, it has message version {version}, not {MESSAGE_VERSION}"
            for kind, version in self._old.items()
        ]
        if self.commands.shadow:
            lines.append("committed_timeline: no command, the executor ran in shadow mode")
        return tuple(line for line in lines if line)

    def _add_instruction(self, received_ns: int, text: str) -> None:
        if not self.instructions or self.instructions[-1][1] != text:
            self.instructions.append((received_ns, text))

    def _add_command(self, topic: str, message: Any, received_ns: int) -> None:
        if hasattr(message, "points"):
            self.commands.add_trajectory(topic, message, received_ns)
            return
        joints = next(c.joints for c in self._contract.controllers if c.topic == topic)
        self.commands.add_positions(topic, joints, message.data, received_ns)

    def _stamp(self, what: str, policy: str, item: BagInput) -> int:
        if policy == "arrival":
            return item.received_ns
        if item.header_ns == 0:
            raise BagError(
                f"{what} does not stamp its messages: set 'stamp: arrival' in the robot contract"
            )
        delay = item.received_ns - item.header_ns
        self._delays[what] = min(self._delays.get(what, delay), delay)
        return item.header_ns


class _JointCollector:
    """Positions by joint, while a bag is read."""

    def __init__(self, path: Path, contract: RobotContract) -> None:
        self._path = path
        self._contract = contract
        self._order: dict[str, OrderedStamps] = {}
        self._stamps: dict[str, array] = defaultdict(lambda: array("q"))
        self._positions: dict[str, array] = defaultdict(lambda: array("d"))
        self._unusable: dict[str, int] = defaultdict(int)
        self._named: dict[str, tuple[str, ...]] = {}

    def add(
        self, topic: str, joints: Sequence[str], message: Any, stamp_ns: int, since: float
    ) -> None:
        """Take a sensor_msgs/JointState; joints that are not wanted are ignored."""
        names, positions = list(message.name), message.position
        self._named[topic] = tuple(names)
        present = [joint for joint in joints if joint in names]
        if not present:
            return
        if len(positions) != len(names) or len(set(names)) != len(names):
            self._unusable[topic] += 1
            return
        for joint in present:
            value = float(positions[names.index(joint)])
            if not np.isfinite(value):
                self._unusable[topic] += 1
                continue
            order = self._order.setdefault(joint, OrderedStamps(f"joint '{joint}' on '{topic}'"))
            if order.accepts(stamp_ns, since):
                self._stamps[joint].append(stamp_ns)
                self._positions[joint].append(value)

    def samples(self) -> JointSamples:
        """Return the samples; raise BagError if a topic has none of the contract's joints."""
        for topic, named in self._named.items():
            if not set(named) & self._contract.joints.keys():
                raise BagError(
                    f"bag {self._path}: '{topic}' names none of the joints of robot "
                    f"'{self._contract.robot}' but {', '.join(named) or 'no joint at all'}: is it "
                    "a bag of another robot?"
                )
        order = [joint for joint in self._contract.joints if joint in self._stamps]
        return JointSamples(
            {j: np.frombuffer(self._stamps[j], dtype=np.int64) for j in order},
            {j: np.frombuffer(self._positions[j], dtype=np.float64) for j in order},
            frozenset(j for j in order if self._contract.joints[j].kind == "continuous"),
        )

    def repairs(self) -> list[str]:
        """Return what was left out, one line each."""
        return [order.repair() for order in self._order.values()] + [
            f"'{topic}': left out {count} malformed joint states"
            for topic, count in self._unusable.items()
        ]


class _Stamps:
    """Stamps of the images of one camera, while a bag is read."""

    def __init__(self) -> None:
        self._columns = (array("q"), array("q"), array("q"))

    def append(self, *stamps: int) -> None:
        """Add (exposure, header, reception) of an image, ns."""
        for column, stamp in zip(self._columns, stamps, strict=True):
            column.append(stamp)

    def arrays(self) -> tuple[NDArray[np.int64], ...]:
        """Return the columns, [N] each."""
        return tuple(np.frombuffer(column, dtype=np.int64) for column in self._columns)


def stamp_in_header(raw: bytes | memoryview) -> int:
    """Return the stamp of a serialised message that begins with a std_msgs/Header, ns.

    Raises:
        SerdeError: the message is too short for one.

    """
    if len(raw) < _HEADER_BYTES:
        raise SerdeError(f"a message of {len(raw)} bytes has no header")
    order = "<" if raw[1] & 1 else ">"
    seconds, nanoseconds = struct.unpack_from(f"{order}iI", raw, 4)
    return int(seconds) * NS_PER_S + int(nanoseconds)
