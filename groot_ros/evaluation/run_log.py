"""Reads a bag of the graph into arrays: what was seen, proposed, sent and done."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rosbags.interfaces import Connection
from rosbags.rosbag2 import Reader, ReaderError
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

_NS = 1_000_000_000


@dataclass(frozen=True)
class Chunk:
    """An action chunk's place in time; seconds since the log began."""

    received: float
    t_obs: float
    start: float
    dt: float
    horizon: int
    instruction: str
    stages: dict[str, float]


@dataclass(frozen=True)
class Timeline:
    """A committed timeline: row i is due at start + i*dt seconds since the log began."""

    received: float
    start: float
    dt: float
    joint_names: tuple[str, ...]
    positions: NDArray[np.float64]


@dataclass
class RunLog:
    """One run; all times are seconds since the first message of the bag.

    Attributes:
        joints: joint -> [N, 2] of (time, measured position).
        statuses: [M, 2] of (time, ExecutorStatus).
        chunk_ages: [M, 2] of (time, chunk age) while a chunk was being executed.
        executor: the last ExecutorState, policy: the last PolicyStatus, or None.
        commands: messages on the controllers' topics.
        timing: name -> value of the executor's last timing report on /diagnostics.
        counts: topic -> messages.

    """

    start_ns: int
    duration: float
    joints: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    chunks: list[Chunk] = field(default_factory=list)
    timelines: list[Timeline] = field(default_factory=list)
    statuses: NDArray[np.float64] = field(default_factory=lambda: np.empty((0, 2)))
    chunk_ages: NDArray[np.float64] = field(default_factory=lambda: np.empty((0, 2)))
    executor: Any = None
    policy: Any = None
    commands: int = 0
    timing: dict[str, str] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)


def read_run(bag: Path) -> RunLog:
    """Everything but the images; ValueError when the directory is not a readable bag."""
    with open_bag(bag) as (reader, types):
        log = RunLog(reader.start_time, reader.duration / _NS)
        log.counts = {c.topic: c.msgcount for c in reader.connections}
        joints: dict[str, list[tuple[float, float]]] = {}
        statuses: list[tuple[float, float]] = []
        ages: list[tuple[float, float]] = []
        wanted = [c for c in reader.connections if not _is_image(c)]
        for connection, received_ns, raw in reader.messages(connections=wanted):
            received = (received_ns - log.start_ns) / _NS
            message: Any = types.deserialize_cdr(raw, connection.msgtype)
            match connection.msgtype:
                case "sensor_msgs/msg/JointState":
                    stamp = _seconds(message.header.stamp, log.start_ns)
                    for name, position in zip(message.name, message.position, strict=False):
                        joints.setdefault(name, []).append((stamp, float(position)))
                case "groot_ros/msg/ActionChunk":
                    log.chunks.append(_chunk(message, received, log.start_ns))
                case "groot_ros/msg/CommittedTimeline":
                    log.timelines.append(_timeline(message, received, log.start_ns))
                case "groot_ros/msg/ExecutorState":
                    log.executor = message
                    statuses.append((received, message.status))
                    if message.chunk_id:
                        ages.append((received, message.chunk_age))
                case "groot_ros/msg/PolicyStatus":
                    log.policy = message
                case "trajectory_msgs/msg/JointTrajectory" | "std_msgs/msg/Float64MultiArray":
                    log.commands += 1
                case "diagnostic_msgs/msg/DiagnosticArray":
                    for status in message.status:
                        if "timing" in status.name:
                            log.timing = {v.key: v.value for v in status.values}
    log.joints = {name: np.array(rows) for name, rows in joints.items()}
    log.statuses = np.array(statuses).reshape(-1, 2)
    log.chunk_ages = np.array(ages).reshape(-1, 2)
    return log


def read_frames(bag: Path, times: NDArray[np.float64]) -> dict[str, list[NDArray[np.uint8]]]:
    """Image topic -> the rgb8 frame that was newest at each of `times` (s since the start)."""
    frames: dict[str, list[NDArray[np.uint8]]] = {}
    with open_bag(bag) as (reader, types):
        for connection in filter(_is_image, reader.connections):
            chosen: list[NDArray[np.uint8]] = []
            for _, received_ns, raw in reader.messages(connections=[connection]):
                due = len(chosen) < len(times)
                if due and (received_ns - reader.start_time) / _NS >= times[len(chosen)]:
                    image: Any = types.deserialize_cdr(raw, connection.msgtype)
                    rows = np.frombuffer(image.data, np.uint8).reshape(image.height, image.step)
                    pixels = rows[:, : image.width * 3].reshape(image.height, image.width, 3)
                    chosen.append(pixels.copy())
            if chosen:
                frames[connection.topic] = chosen
    return frames


@contextmanager
def open_bag(bag: Path) -> Iterator[tuple[Reader, Typestore]]:
    """An open reader, and the types as the bag itself defines them; ValueError if damaged."""
    if not (bag / "metadata.yaml").is_file():
        raise ValueError(f"{bag} is not a bag: it has no metadata.yaml")
    types = get_typestore(Stores.ROS2_JAZZY)
    try:
        with Reader(bag) as reader:
            for connection in reader.connections:
                if connection.msgtype not in types.fielddefs:
                    new = get_types_from_msg(connection.msgdef.data, connection.msgtype)
                    types.register({k: v for k, v in new.items() if k not in types.fielddefs})
            yield reader, types
    except ReaderError as error:
        raise ValueError(f"bag {bag} cannot be read: {' '.join(str(error).split())}") from error


def _is_image(connection: Connection) -> bool:
    return connection.msgtype == "sensor_msgs/msg/Image"


def _seconds(stamp: Any, origin_ns: int) -> float:
    return (int(stamp.sec) * _NS + int(stamp.nanosec) - origin_ns) / _NS


def _chunk(message: Any, received: float, origin_ns: int) -> Chunk:
    return Chunk(
        received=received,
        t_obs=_seconds(message.header.stamp, origin_ns),
        start=_seconds(message.start, origin_ns),
        dt=float(message.dt),
        horizon=int(message.horizon),
        instruction=message.instruction,
        stages=dict(zip(message.stages, map(float, message.stage_seconds), strict=False)),
    )


def _timeline(message: Any, received: float, origin_ns: int) -> Timeline:
    return Timeline(
        received=received,
        start=_seconds(message.start, origin_ns),
        dt=float(message.dt),
        joint_names=tuple(message.joint_names),
        positions=np.asarray(message.positions).reshape(-1, len(message.joint_names)),
    )
