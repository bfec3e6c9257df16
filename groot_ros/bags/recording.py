# SPDX-License-Identifier: Apache-2.0
"""A bag of one robot: checked against the robot contract, read once, with its streams in memory.

`RobotBag.stream()` yields the inputs of the policy in the order of their reception, as the live
node receives them, and collects everything that is small: stamps, joint positions, commands,
chunks. Images stay in the file: `RobotBag.frames()` decodes those that are asked for.
"""

import struct
from array import array
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rosbags.interfaces import Connection
from rosbags.rosbag2 import Reader
from rosbags.typesys.store import Typestore

from groot_ros.bags import BagError
from groot_ros.bags.commands import CommandCollector, Commands
from groot_ros.bags.contents import BagContents, read_contents
from groot_ros.bags.episode import read_episode
from groot_ros.bags.reader import (
    MESSAGE_VERSION,
    full_topic,
    open_bag,
    recorded_version,
    robot_namespace,
)
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
from groot_ros.vision.compressed import checked_decoder

_IMAGE, _COMPRESSED = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"
_JOINTS = "sensor_msgs/msg/JointState"
_TRAJECTORY, _POSITIONS = "trajectory_msgs/msg/JointTrajectory", "std_msgs/msg/Float64MultiArray"
#: Topic -> type that a policy or executor publishes; "instruction" is an input of version 0.2.
_NODE_TOPICS = {
    "action_chunk": "groot_ros/msg/ActionChunk",
    "committed_timeline": "groot_ros/msg/CommittedTimeline",
    "executor_state": "groot_ros/msg/ExecutorState",
    "active_instruction": "groot_ros/msg/Instruction",
    "instruction": "std_msgs/msg/String",
}


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
        """Deserialise the message."""
        return self._types.deserialize_cdr(self._raw, self._msgtype)


@dataclass(frozen=True)
class RecordedChunk:
    """A chunk that a policy published, and when the recorder received it."""

    received_ns: int
    chunk: ActionChunk


class RobotBag:
    """A bag of one robot. Opening it checks topics and types; `read()` the rest.

    Args:
        path: directory of a bag, or one .mcap or .db3 file.
        contract: the robot; None = the contract that the bag contains.
        views: cameras that are needed; None = all of the contract.
        groups: state groups whose joints are needed; None = all joints of the contract.
        namespace: of the robot in the bag; None = the only one that fits.
        leader: topic with the joint states of a leader arm, whose joints have the names of the
            contract; relative to the namespace. None = no leader.

    Attributes:
        contents: topics, counts and time span.
        contract: the robot.
        episode: what the bag says about its recording; empty for bags of other recorders.
        namespace: the robot's.
        images: view -> its images.
        joints: measured positions.
        leader: positions of the leader arm; None without one.
        commands: commands in force.
        instructions: (ns, text) of each change of the instruction that was followed.
        interventions: (ns, whether a human commands the robot) of each change that an executor
            reported.
        chunks, timelines: those of policy and executor; timelines with their reception in ns.
        repairs: what was left out of the streams, one line each.

        Those from `images` on are complete after `read()`, or at the end of `stream()`.

    Raises:
        BagError: the bag cannot be read, has no contract, lacks a topic or has one of another
            type.

    """

    def __init__(
        self,
        path: Path,
        contract: RobotContract | None = None,
        *,
        views: Collection[str] | None = None,
        groups: Collection[str] | None = None,
        namespace: str | None = None,
        leader: str | None = None,
    ) -> None:
        self.path = path
        self.contents: BagContents = read_contents(path)
        self.episode = read_episode(path)
        try:
            self.contract = contract or self.episode.robot_contract()
        except ValueError as error:
            raise self._error(str(error)) from error
        self._cameras = {
            view: camera
            for view, camera in self.contract.cameras.items()
            if views is None or view in views
        }
        self._require_names(views or (), self.contract.cameras, "camera")
        self._require_names(groups or (), self.contract.state_groups, "state group")
        needed = {
            joint
            for group, joints in self.contract.state_groups.items()
            if groups is None or group in groups
            for joint in joints
        }
        self._sources = {
            s.topic: s
            for s in self.contract.sources
            if groups is None or needed.intersection(s.joints)
        }
        self._leader = leader
        with open_bag(path) as (reader, types):
            self.namespace = self._find_namespace(reader, namespace)
            self._require_types(reader, types)
        self.images: Mapping[str, ImageStream] = {}
        self.joints = JointSamples({}, {})
        self.leader: JointSamples | None = None
        self.commands = Commands({}, None, {})
        self.instructions: Sequence[tuple[int, str]] = ()
        self.interventions: Sequence[tuple[int, bool]] = ()
        self.chunks: Sequence[RecordedChunk] = ()
        self.timelines: Sequence[tuple[int, CommittedTimeline]] = ()
        self.repairs: Sequence[str] = ()

    @property
    def cameras(self) -> Mapping[str, Camera]:
        """Return the cameras that are read, by view."""
        return self._cameras

    def read(self) -> "RobotBag":
        """Read the streams; return this object."""
        for _ in self.stream():
            pass
        return self

    def stream(self) -> Iterator[BagInput]:
        """Yield the inputs of a policy in the order of their reception, and fill the streams.

        Instructions, chunks and timelines up to an input are in their lists when it is yielded.

        Raises:
            BagError: damaged file, a clock that was reset, a camera whose messages are not what
                the contract states, joint states of another robot.

        """
        with open_bag(self.path) as (reader, types):
            collector = _Collector(self, types)
            kinds = self._kinds(reader)
            self.instructions, self.chunks = collector.instructions, collector.chunks
            self.timelines, self.interventions = collector.timelines, collector.interventions
            chosen = [c for c in reader.connections if c.topic in kinds]
            for connection, received_ns, raw in reader.messages(connections=chosen):
                kind, name = kinds[connection.topic]
                if kind in ("image", "joints"):
                    header_ns = _header_ns(raw)
                    item = BagInput(
                        name,
                        kind == "image",
                        received_ns,
                        header_ns,
                        raw,
                        connection.msgtype,
                        types,
                    )
                    collector.add_input(item)
                    yield item
                else:
                    message = types.deserialize_cdr(raw, connection.msgtype)
                    collector.add_message(kind, name, message, received_ns)
        self.images = collector.image_streams()
        self.joints = collector.joints.samples(self.contract)
        if self._leader is not None:
            self.leader = collector.leader.samples(self.contract)
        self.commands = collector.commands.commands(self.leader)
        self.repairs = collector.repairs()

    def frames(
        self, wanted: Mapping[str, Sequence[int]]
    ) -> Iterator[tuple[str, int, NDArray[np.uint8]]]:
        """Decode images in one pass; yield (view, index, uint8 RGB [H, W, 3]) as recorded.

        Args:
            wanted: view -> indices into its ImageStream, ascending.

        Raises:
            BagError: an image cannot be decoded.

        """
        due = {
            view: {
                (int(self.images[view].received_ns[i]), int(self.images[view].headers_ns[i])): i
                for i in indices
            }
            for view, indices in wanted.items()
            if len(indices)
        }
        if not due:
            return
        stamps = [received for own in due.values() for received, _ in own]
        topics = {full_topic(self.namespace, self._cameras[view].topic): view for view in due}
        with open_bag(self.path) as (reader, types):
            chosen = [c for c in reader.connections if full_topic("", c.topic) in topics]
            window = {"start": min(stamps), "stop": max(stamps) + 1}
            for connection, received_ns, raw in reader.messages(connections=chosen, **window):
                view = topics[full_topic("", connection.topic)]
                index = due[view].pop((received_ns, _header_ns(raw)), None)
                if index is None:
                    continue
                message = types.deserialize_cdr(raw, connection.msgtype)
                yield view, index, self._decode(view, message, received_ns)

    def since_start(self, stamp_ns: int) -> float:
        """Return s from the start of the bag to a time."""
        return ns_to_s(stamp_ns - self.contents.start_ns)

    def other_robot(self) -> str:
        """Return a line if the bag was recorded with another robot or cameras, else ""."""
        recorded = self.episode.fingerprint
        if not recorded or recorded == self.contract.fingerprint(self.namespace):
            return ""
        return (
            f"the bag was recorded with robot '{self.episode.robot}' and its cameras, topics or "
            f"joints differ from those of the contract '{self.contract.robot}' that is used"
        )

    def _decode(self, view: str, message: Any, received_ns: int) -> NDArray[np.uint8]:
        try:
            return checked_decoder(message, self._cameras[view].encoding)()
        except MalformedError as error:
            raise self._error(
                f"camera '{view}', {self.since_start(received_ns):.3f} s: {error.detail}"
            ) from error

    def _require_names(self, needed: Collection[str], known: Collection[str], what: str) -> None:
        for name in needed:
            if name not in known:
                raise self._error(
                    f"{what} '{name}' is not in the contract of robot '{self.contract.robot}' "
                    f"(it has {', '.join(known) or 'none'})"
                )

    def _find_namespace(self, reader: Reader, given: str | None) -> str:
        recorded = {full_topic("", c.topic) for c in reader.connections if c.msgcount}
        topics = [*self._sources, *(c.topic for c in self._cameras.values())]
        if self._leader is not None:
            topics.append(self._leader)
        try:
            return robot_namespace(topics, recorded, given)
        except ValueError as error:
            raise self._error(f"{error}; is it a bag of robot '{self.contract.robot}'?") from error

    def _require_types(self, reader: Reader, types: Typestore) -> None:
        expected: dict[str, tuple[str, str]] = {}
        for view, camera in self._cameras.items():
            kind = _COMPRESSED if camera.compressed else _IMAGE
            what = f"camera '{view}' (encoding {camera.encoding})"
            expected[full_topic(self.namespace, camera.topic)] = (kind, what)
        for topic in [*self._sources, *([] if self._leader is None else [self._leader])]:
            expected[full_topic(self.namespace, topic)] = (_JOINTS, "joint states")
        for connection in reader.connections:
            topic = full_topic("", connection.topic)
            if topic not in expected:
                continue
            kind, what = expected[topic]
            if connection.msgtype != kind:
                hint = ""
                if {connection.msgtype, kind} == {_IMAGE, _COMPRESSED}:
                    hint = ": correct 'encoding' in the robot contract"
                raise self._error(
                    f"topic {topic} has {connection.msgtype}, expected {kind} for {what}{hint}"
                )
            if connection.msgtype not in types.fielddefs:
                raise self._error(f"topic {topic}: there is no definition of {kind}")

    def _kinds(self, reader: Reader) -> dict[str, tuple[str, str]]:
        """Return recorded topic -> (kind, name) of all topics that are read."""
        kinds: dict[str, tuple[str, str]] = {}
        own = self.namespace
        for topic in _NODE_TOPICS:
            kinds[full_topic(own, topic)] = (topic, topic)
        for controller in self.contract.controllers:
            if controller.has_topic:
                kinds[full_topic(own, controller.topic)] = ("command", controller.topic)
        if self._leader is not None:
            kinds[full_topic(own, self._leader)] = ("leader", self._leader)
        for topic in self._sources:
            kinds[full_topic(own, topic)] = ("joints", topic)
        for view, camera in self._cameras.items():
            kinds[full_topic(own, camera.topic)] = ("image", view)
        # Foreign recorders may store names without the leading slash.
        return {
            c.topic: kinds[full_topic("", c.topic)]
            for c in reader.connections
            if full_topic("", c.topic) in kinds and self._is_read(c, kinds)
        }

    def _is_read(self, connection: Connection, kinds: Mapping[str, tuple[str, str]]) -> bool:
        kind, _ = kinds[full_topic("", connection.topic)]
        if kind == "command":
            return connection.msgtype in (_TRAJECTORY, _POSITIONS)
        return kind not in _NODE_TOPICS or connection.msgtype == _NODE_TOPICS[kind]

    def _error(self, text: str) -> BagError:
        return BagError(f"bag {self.path}: {text}")


class _Collector:
    """Everything small of a bag, while it is read."""

    def __init__(self, bag: RobotBag, types: Typestore) -> None:
        self._bag = bag
        self._types = types
        self._order = {v: OrderedStamps(f"camera '{v}'") for v in bag.cameras}
        self._images = {v: _Stamps() for v in bag.cameras}
        self._sources = {s.topic: s for s in bag.contract.sources}
        self.joints = _JointCollector(bag)
        self.leader = _JointCollector(bag)
        self.commands = CommandCollector(bag.contract)
        self.instructions: list[tuple[int, str]] = []
        self.interventions: list[tuple[int, bool]] = []
        self.chunks: list[RecordedChunk] = []
        self.timelines: list[tuple[int, CommittedTimeline]] = []
        self._active = False
        self._malformed: dict[str, tuple[int, str]] = {}
        self._old = {
            kind: version
            for kind, msgtype in _NODE_TOPICS.items()
            if kind in ("action_chunk", "committed_timeline", "executor_state")
            and msgtype in types.fielddefs
            and (version := recorded_version(msgtype, types)) != MESSAGE_VERSION
        }

    def add_input(self, item: BagInput) -> None:
        """Take an image or a joint state."""
        bag = self._bag
        since = bag.since_start(item.received_ns)
        try:
            if item.image:
                camera = bag.cameras[item.name]
                stamp = self._stamp(f"camera '{item.name}'", camera.stamp, item)
                stamp -= camera.latency_ns
                if self._order[item.name].accepts(stamp, since):
                    self._images[item.name].append(stamp, item.header_ns, item.received_ns)
            else:
                source = self._sources[item.name]
                stamp = self._stamp(f"'{item.name}'", source.stamp, item) - source.latency_ns
                self.joints.add(item.name, source.joints, item.message(), stamp, since)
        except BagError as error:
            raise BagError(f"bag {bag.path}: {error}") from error

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
                    since = self._bag.since_start(received_ns)
                    joints = tuple(self._bag.contract.joints)
                    try:
                        self.leader.add(name, joints, message, stamp, since)
                    except BagError as error:
                        raise BagError(f"bag {self._bag.path}: {error}") from error
        except MalformedError as error:
            count, _ = self._malformed.get(kind, (0, ""))
            self._malformed[kind] = (count + 1, str(error))

    def image_streams(self) -> dict[str, ImageStream]:
        """Return view -> its images."""
        return {
            view: ImageStream(view, self._bag.cameras[view], *stamps.arrays())
            for view, stamps in self._images.items()
        }

    def repairs(self) -> tuple[str, ...]:
        """Return what was left out, one line each."""
        lines = [self._bag.other_robot()]
        lines += [order.repair() for order in self._order.values()]
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
        joints = next(c.joints for c in self._bag.contract.controllers if c.topic == topic)
        self.commands.add_positions(topic, joints, message.data, received_ns)

    def _stamp(self, what: str, policy: str, item: BagInput) -> int:
        if policy == "arrival":
            return item.received_ns
        if item.header_ns == 0:
            raise BagError(
                f"{what} does not stamp its messages: set 'stamp: arrival' in the robot contract"
            )
        return item.header_ns


class _JointCollector:
    """Positions by joint, while a bag is read."""

    def __init__(self, bag: RobotBag) -> None:
        self._bag = bag
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

    def samples(self, contract: RobotContract) -> JointSamples:
        """Return the samples; raise BagError if a topic has none of the contract's joints."""
        for topic, named in self._named.items():
            if not set(named) & contract.joints.keys():
                raise BagError(
                    f"bag {self._bag.path}: '{topic}' names none of the joints of robot "
                    f"'{contract.robot}' but {', '.join(named) or 'no joint at all'}: is it a bag "
                    "of another robot?"
                )
        order = [joint for joint in contract.joints if joint in self._stamps]
        return JointSamples(
            {j: np.frombuffer(self._stamps[j], dtype=np.int64) for j in order},
            {j: np.frombuffer(self._positions[j], dtype=np.float64) for j in order},
            frozenset(j for j in order if contract.joints[j].kind == "continuous"),
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


def _header_ns(raw: bytes | memoryview) -> int:
    """Return the stamp of a serialised message that begins with a std_msgs/Header, ns."""
    order = "<" if raw[1] & 1 else ">"
    seconds, nanoseconds = struct.unpack_from(f"{order}iI", raw, 4)
    return int(seconds) * NS_PER_S + int(nanoseconds)
