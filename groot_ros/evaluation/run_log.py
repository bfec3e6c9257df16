# SPDX-License-Identifier: Apache-2.0
"""Reader of recorded runs: chunks, commands, states and images of a bag as arrays."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from groot_ros.bags.reader import open_bag, require_version
from groot_ros.core import (
    COMMITTED_JOINT_STATES,
    PROPOSED_JOINT_STATES,
    ActionKind,
    ExecutorStatus,
    MalformedError,
    ns_to_s,
    time_to_ns,
)
from groot_ros.evaluation.counters import RunCounts
from groot_ros.vision.compressed import compressed_to_rgb
from groot_ros.vision.encodings import image_to_rgb

#: Joint states that nothing measured, for views.
_NOT_MEASURED = (COMMITTED_JOINT_STATES, PROPOSED_JOINT_STATES)
#: Message type -> its conversion to RGB.
_TO_RGB: dict[str, Callable[[Any], NDArray[np.uint8]]] = {
    "sensor_msgs/msg/Image": image_to_rgb,
    "sensor_msgs/msg/CompressedImage": compressed_to_rgb,
}


@dataclass(frozen=True)
class Chunk:
    """Times of an action chunk, in seconds since the start of the log."""

    received: float
    t_obs: float
    start: float
    dt: float
    horizon: int
    instruction: str
    stages: dict[str, float]


@dataclass(frozen=True)
class Timeline:
    """A committed timeline; row i is due at start + i*dt seconds since the start of the log."""

    received: float
    start: float
    dt: float
    joint_names: tuple[str, ...]
    positions: NDArray[np.float64]


@dataclass
class RunLog:
    """One run; times are seconds since the first message of the bag.

    Attributes:
        joints: joint -> [N, 2] of (time, measured position).
        statuses: [M, 2] of (time, ExecutorStatus).
        chunk_ages: [M, 2] of (time, chunk age) while a chunk was being executed.
        counts: what policy and executor counted.
        instructions: (time, text) of each change of the instruction that was followed.
        commands: messages on the controllers' topics.
        timing: name -> value of the executor's last timing report on /diagnostics.
        units: joint -> unit of its position in the chunks.
        images: number of images of all cameras.

    """

    start_ns: int
    duration: float
    joints: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    chunks: list[Chunk] = field(default_factory=list)
    timelines: list[Timeline] = field(default_factory=list)
    statuses: NDArray[np.float64] = field(default_factory=lambda: np.empty((0, 2)))
    chunk_ages: NDArray[np.float64] = field(default_factory=lambda: np.empty((0, 2)))
    counts: RunCounts = field(default_factory=RunCounts)
    instructions: list[tuple[float, str]] = field(default_factory=list)
    commands: int = 0
    timing: dict[str, str] = field(default_factory=dict)
    units: dict[str, str] = field(default_factory=dict)
    images: int = 0

    def unit(self, joint: str) -> str:
        """Return the unit of the joint's position; rad if no chunk names the joint."""
        return self.units.get(joint, "rad")

    def instruction_at(self, time: float) -> str:
        """Return the instruction that was followed at a time; empty if none."""
        return next((text for begin, text in reversed(self.instructions) if begin <= time), "")

    def status_at(self, time: float) -> ExecutorStatus | None:
        """Return the executor's status at a time; None before the first report."""
        i = int(np.searchsorted(self.statuses[:, 0], time, side="right"))
        return ExecutorStatus(int(self.statuses[i - 1, 1])) if i else None


@dataclass(frozen=True)
class Frames:
    """Images of a bag.

    Attributes:
        shown: topic -> for each of the times the first uint8 RGB [H, W, 3] at or after it.
        rejected: topic -> why an image could not be decoded; the next one was used instead.

    """

    shown: dict[str, list[NDArray[np.uint8]]]
    rejected: dict[str, str]


def read_run(bag: Path) -> RunLog:
    """Read everything but the images.

    Raises:
        ValueError: the directory is not a readable bag, or its messages have another version.

    """
    with open_bag(bag) as (reader, types):
        require_version(bag, reader, types)
        log = RunLog(reader.start_time, ns_to_s(reader.duration))
        log.images = sum(c.msgcount for c in reader.connections if c.msgtype in _TO_RGB)
        joints: dict[str, list[tuple[float, float]]] = {}
        statuses: list[tuple[float, float]] = []
        ages: list[tuple[float, float]] = []
        recorded = [
            c
            for c in reader.connections
            if c.msgtype not in _TO_RGB and c.topic.rpartition("/")[2] not in _NOT_MEASURED
        ]
        followed: list[tuple[float, str]] = []
        for connection, received_ns, raw in reader.messages(connections=recorded):
            received = ns_to_s(received_ns - log.start_ns)
            message: Any = types.deserialize_cdr(raw, connection.msgtype)
            match connection.msgtype:
                case "sensor_msgs/msg/JointState":
                    stamp = _seconds(message.header.stamp, log.start_ns)
                    for name, position in zip(message.name, message.position, strict=False):
                        joints.setdefault(name, []).append((stamp, float(position)))
                case "groot_ros/msg/ActionChunk":
                    log.chunks.append(_chunk(message, received, log.start_ns))
                    log.units |= _units(message)
                case "groot_ros/msg/Instruction":
                    followed.append((received, message.text))
                case "groot_ros/msg/CommittedTimeline":
                    log.timelines.append(_timeline(message, received, log.start_ns))
                case "groot_ros/msg/ExecutorState":
                    log.counts.read_executor(message)
                    statuses.append((received, message.status))
                    if message.chunk_id:
                        ages.append((received, message.chunk_age))
                case "groot_ros/msg/PolicyStatus":
                    log.counts.read_policy(message)
                case "trajectory_msgs/msg/JointTrajectory" | "std_msgs/msg/Float64MultiArray":
                    log.commands += 1
                case "diagnostic_msgs/msg/DiagnosticArray":
                    for status in message.status:
                        if "timing" in status.name:
                            log.timing = {v.key: v.value for v in status.values}
    log.joints = {name: np.array(rows) for name, rows in joints.items()}
    log.statuses = np.array(statuses).reshape(-1, 2)
    log.chunk_ages = np.array(ages).reshape(-1, 2)
    # Bags of a policy that does not publish its instruction have it in the chunks only.
    log.instructions = _changes(followed or [(c.received, c.instruction) for c in log.chunks])
    return log


def read_frames(bag: Path, times: NDArray[np.float64]) -> Frames:
    """Return the images of every camera at `times` (ascending, s since the start)."""
    frames = Frames({}, {})
    with open_bag(bag) as (reader, types):
        for connection in reader.connections:
            to_rgb = _TO_RGB.get(connection.msgtype)
            if to_rgb is None:
                continue
            chosen: list[NDArray[np.uint8]] = []
            for _, received_ns, raw in reader.messages(connections=[connection]):
                if len(chosen) == len(times):
                    break
                if ns_to_s(received_ns - reader.start_time) < times[len(chosen)]:
                    continue
                try:
                    chosen.append(to_rgb(types.deserialize_cdr(raw, connection.msgtype)))
                except MalformedError as error:
                    frames.rejected[connection.topic] = str(error)
            if chosen:
                frames.shown[connection.topic] = chosen
    return frames


def _changes(followed: Sequence[tuple[float, str]]) -> list[tuple[float, str]]:
    """Return those (time, text) that differ from the one before."""
    texts = ["", *(text for _, text in followed)]
    return [each for each, before in zip(followed, texts, strict=False) if each[1] != before]


def _seconds(stamp: Any, origin_ns: int) -> float:
    return ns_to_s(time_to_ns(stamp) - origin_ns)


def _units(message: Any) -> dict[str, str]:
    """Return joint -> unit of the groups with joint positions."""
    positions = (ActionKind.JOINT_POSITION, ActionKind.GRIPPER)
    groups = [group for group in message.groups if group.kind in positions]
    return {n: u for group in groups for n, u in zip(group.names, group.units, strict=False)}


def _chunk(message: Any, received: float, origin_ns: int) -> Chunk:
    return Chunk(
        received=received,
        t_obs=_seconds(message.header.stamp, origin_ns),
        start=_seconds(message.start, origin_ns),
        dt=float(message.dt),
        horizon=int(message.horizon),
        instruction=message.instruction,
        stages={stage.name: float(stage.seconds) for stage in message.stages},
    )


def _timeline(message: Any, received: float, origin_ns: int) -> Timeline:
    return Timeline(
        received=received,
        start=_seconds(message.start, origin_ns),
        dt=float(message.dt),
        joint_names=tuple(message.joint_names),
        positions=np.asarray(message.positions).reshape(-1, len(message.joint_names)),
    )
