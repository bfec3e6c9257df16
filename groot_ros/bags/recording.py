# SPDX-License-Identifier: Apache-2.0
"""A bag of one robot: checked against the robot contract, read once, with its streams in memory.

`RobotBag.stream()` yields the inputs of the policy in the order of their reception, as the live
node receives them, and collects everything that is small: stamps, joint positions, commands,
chunks. Images stay in the file: `RobotBag.frames()` decodes those that are asked for.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rosbags.interfaces import Connection
from rosbags.rosbag2 import Reader
from rosbags.typesys.store import Typestore

from groot_ros.bags import COMPRESSED, IMAGE, JOINT_STATE, BagError
from groot_ros.bags.clock import require_steady_clock
from groot_ros.bags.collector import (
    NODE_TOPICS,
    BagInput,
    RecordedChunk,
    StreamCollector,
    stamp_in_header,
)
from groot_ros.bags.commands import Commands
from groot_ros.bags.contents import BagContents, read_contents
from groot_ros.bags.episode import read_episode
from groot_ros.bags.reader import (
    decode,
    full_topic,
    open_bag,
    robot_namespace,
)
from groot_ros.bags.streams import ImageStream, JointSamples
from groot_ros.core import (
    CommittedTimeline,
    MalformedError,
    ns_to_s,
)
from groot_ros.robot import Camera, RobotContract
from groot_ros.vision.compressed import checked_decoder

_TRAJECTORY, _POSITIONS = "trajectory_msgs/msg/JointTrajectory", "std_msgs/msg/Float64MultiArray"


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
        commands: active commands.
        instructions: (ns, text) of each change of the instruction that was followed.
        interventions: (ns, whether a human commands the robot) of each change that an executor
            reported.
        chunks, timelines: those of policy and executor; timelines with their reception in ns.
        repairs: what was left out of the streams, one line each.

        Those from `images` on are complete after `read()`, or at the end of `stream()`.

    Raises:
        BagError: the bag cannot be read, has no contract, lacks a topic or has one of another
            type, or its clock was reset.

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
            # `rosbags` sorts by stamps, which would mix what was recorded before and after.
            require_steady_clock(path, reader)
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
            BagError: damaged file, a clock that was reset, stamps of different clocks, a camera
                whose messages are not what the contract states, joint states of another robot.

        """
        with open_bag(self.path) as (reader, types):
            collector = StreamCollector(
                self.path, self.contract, self._cameras, self.contents.start_ns, types
            )
            kinds = self._kinds(reader)
            self.instructions, self.chunks = collector.instructions, collector.chunks
            self.timelines, self.interventions = collector.timelines, collector.interventions
            chosen = [c for c in reader.connections if c.topic in kinds]
            for connection, received_ns, raw in reader.messages(connections=chosen):
                kind, name = kinds[connection.topic]
                if kind in ("image", "joints"):
                    header_ns = stamp_in_header(raw)
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
                    message = decode(types, raw, connection.msgtype)
                    collector.add_message(kind, name, message, received_ns)
        collector.require_one_clock()
        self.images = collector.image_streams()
        self.joints = collector.joints.samples()
        if self._leader is not None:
            self.leader = collector.leader.samples()
        self.commands = collector.commands.commands(self.leader)
        self.repairs = tuple(filter(None, (self.other_robot(), *collector.repairs())))

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
                index = due[view].pop((received_ns, stamp_in_header(raw)), None)
                if index is None:
                    continue
                message = decode(types, raw, connection.msgtype)
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
            kind = COMPRESSED if camera.compressed else IMAGE
            what = f"camera '{view}' (encoding {camera.encoding})"
            expected[full_topic(self.namespace, camera.topic)] = (kind, what)
        for topic in [*self._sources, *([] if self._leader is None else [self._leader])]:
            expected[full_topic(self.namespace, topic)] = (JOINT_STATE, "joint states")
        for connection in reader.connections:
            topic = full_topic("", connection.topic)
            if topic not in expected:
                continue
            kind, what = expected[topic]
            if connection.msgtype != kind:
                hint = ""
                if {connection.msgtype, kind} == {IMAGE, COMPRESSED}:
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
        for topic in NODE_TOPICS:
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
        return kind not in NODE_TOPICS or connection.msgtype == NODE_TOPICS[kind]

    def _error(self, text: str) -> BagError:
        return BagError(f"bag {self.path}: {text}")
