# SPDX-License-Identifier: Apache-2.0
"""Reader of recorded runs: everything in a bag but the images, repaired where it can be."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rosbags.interfaces import Connection

from groot_ros.bags import BagError
from groot_ros.bags.clock import require_steady_clock
from groot_ros.bags.reader import decode, open_bag, require_version
from groot_ros.core import (
    COMMITTED_JOINT_STATES,
    PROPOSED_JOINT_STATES,
    ActionKind,
    ExecutorStatus,
    ns_to_s,
    time_to_ns,
)
from groot_ros.evaluation.camera_frames import CAMERA_TYPES
from groot_ros.evaluation.progress import tracked
from groot_ros.evaluation.run_records import (
    Chunk,
    ExecutorReport,
    Rejections,
    RunLog,
    Timeline,
    Trajectory,
)

#: Joint states that nothing measured, for views.
_NOT_MEASURED = (COMMITTED_JOINT_STATES, PROPOSED_JOINT_STATES)
#: A stamp this far from the reception of its message is of another clock than the bag, s.
_OTHER_CLOCK = 10.0
#: Last part of a topic -> its type.
_EXPECTED_TYPES = {
    "joint_states": "sensor_msgs/msg/JointState",
    "action_chunk": "groot_ros/msg/ActionChunk",
    "active_instruction": "groot_ros/msg/Instruction",
    "committed_timeline": "groot_ros/msg/CommittedTimeline",
    "executor_state": "groot_ros/msg/ExecutorState",
    "policy_status": "groot_ros/msg/PolicyStatus",
}


def read_run(bag: Path) -> RunLog:
    """Read everything but the images.

    Raises:
        BagError: there is no readable bag, it has no messages, or messages of another version, or
            its clock was reset.

    """
    with open_bag(bag) as (reader, types):
        require_version(bag, reader, types)
        if not reader.message_count:
            raise BagError(f"bag {bag} has no messages")
        require_steady_clock(bag, reader)
        log = RunLog(reader.start_time, ns_to_s(reader.duration))
        collector = _Collector(log)
        for connection in reader.connections:
            collector.add_topic(connection)
        # Other topics are read too, so that damage does not stay unnoticed; images are too large.
        others = [c for c in reader.connections if c.msgtype not in CAMERA_TYPES]
        if others:
            messages = reader.messages(connections=others)
            total = sum(c.msgcount for c in others)
            for connection, received_ns, raw in tracked(messages, "reading the bag", total):
                if collector.reads(connection):
                    message = decode(types, raw, connection.msgtype)
                    collector.add_message(connection, message, ns_to_s(received_ns - log.start_ns))
    collector.finish()
    return log


class _Collector:
    """Fills a RunLog from messages."""

    def __init__(self, log: RunLog) -> None:
        self._log = log
        #: Topic -> joint -> (stamp, reception, position).
        self._joints: dict[str, dict[str, list[tuple[float, float, float]]]] = {}
        self._ages: list[tuple[float, float]] = []
        self._followed: list[tuple[float, str]] = []
        self._other_clock: set[str] = set()
        self._readers: dict[str, Callable[[str, Any, float], None]] = {
            "sensor_msgs/msg/JointState": self._add_joint_state,
            "groot_ros/msg/ActionChunk": self._add_chunk,
            "groot_ros/msg/Instruction": self._add_instruction,
            "groot_ros/msg/CommittedTimeline": self._add_timeline,
            "groot_ros/msg/ExecutorState": self._add_executor_state,
            "groot_ros/msg/PolicyStatus": self._add_policy_status,
            "trajectory_msgs/msg/JointTrajectory": self._add_trajectory,
            "std_msgs/msg/Float64MultiArray": self._add_positions,
            "diagnostic_msgs/msg/DiagnosticArray": self._add_diagnostics,
        }

    def reads(self, connection: Connection) -> bool:
        """Return whether messages of this topic are read."""
        name = connection.topic.rpartition("/")[2]
        return connection.msgtype in self._readers and name not in _NOT_MEASURED

    def add_topic(self, connection: Connection) -> None:
        """Take note of a topic that was recorded."""
        log, topic, own = self._log, connection.topic, connection.msgtype
        log.types |= {own}
        if own in CAMERA_TYPES:
            log.cameras[topic] = log.cameras.get(topic, 0) + connection.msgcount
        expected = _EXPECTED_TYPES.get(topic.rpartition("/")[2], own)
        if own != expected:
            log.repairs.append(f"{topic} has the type {own} instead of {expected}: it is left out.")

    def add_message(self, connection: Connection, message: Any, received: float) -> None:
        """Take a message, received `received` s after the start of the bag."""
        self._readers[connection.msgtype](connection.topic, message, received)

    def finish(self) -> None:
        """Complete the log after the last message."""
        log = self._log
        owners: dict[str, str] = {}
        for topic, joints in sorted(self._joints.items()):
            shared = sorted(joints.keys() & owners.keys())
            if shared:
                log.repairs.append(
                    f"{', '.join(shared)}: also on {topic}; {owners[shared[0]]} is shown."
                )
            new = {joint: rows for joint, rows in joints.items() if joint not in owners}
            owners |= dict.fromkeys(new, topic)
            series, repairs = _joint_series(topic, new)
            log.joints |= series
            log.repairs += repairs
        statuses = [(report.time, report.status) for report in log.reports]
        log.statuses = np.array(statuses, dtype=float).reshape(-1, 2)
        log.chunk_ages = np.array(self._ages).reshape(-1, 2)
        # Bags of a policy that does not publish its instruction have it in the chunks only.
        log.instructions = _changes(
            self._followed or [(c.received, c.instruction) for c in log.chunks]
        )
        log.repairs += [
            f"{topic} has stamps of another clock than the bag: it is shown at its reception, "
            "without ages and latencies."
            for topic in sorted(self._other_clock)
        ]

    def _add_joint_state(self, topic: str, message: Any, received: float) -> None:
        stamp = self._seconds(message.header.stamp)
        joints = self._joints.setdefault(topic, {})
        for name, position in zip(message.name, message.position, strict=False):
            joints.setdefault(name, []).append((stamp, received, float(position)))

    def _add_chunk(self, topic: str, message: Any, received: float) -> None:
        t_obs, start = self._seconds(message.header.stamp), self._seconds(message.start)
        if self._is_other_clock(topic, t_obs, received):
            t_obs, start = np.nan, received
        positions = (ActionKind.JOINT_POSITION, ActionKind.GRIPPER)
        for group in message.groups:
            if group.kind in positions:
                self._log.units |= dict(zip(group.names, group.units, strict=False))
        self._log.chunks.append(
            Chunk(
                received=received,
                t_obs=t_obs,
                start=start,
                dt=float(message.dt),
                horizon=int(message.horizon),
                instruction=message.instruction,
                stages={stage.name: float(stage.seconds) for stage in message.stages},
                key=(message.session, int(message.id)),
            )
        )

    def _add_instruction(self, _topic: str, message: Any, received: float) -> None:
        self._followed.append((received, message.text))

    def _add_timeline(self, topic: str, message: Any, received: float) -> None:
        start, stamp = self._seconds(message.start), self._seconds(message.header.stamp)
        if self._is_other_clock(topic, stamp, received):
            start += received - stamp
        self._log.timelines.append(
            Timeline(
                received=received,
                start=start,
                dt=float(message.dt),
                joint_names=tuple(message.joint_names),
                positions=np.asarray(message.positions).reshape(-1, len(message.joint_names)),
                chunk=(message.session, int(message.chunk_id)),
            )
        )

    def _add_executor_state(self, _topic: str, message: Any, received: float) -> None:
        for code, count in self._log.counts.read_executor(message).items():
            self._log.rejections.append(Rejections(received, "executor", code, count))
        errors = np.abs(np.asarray(message.splice_discontinuity, dtype=float))
        worst = int(np.argmax(errors)) if len(errors) else None
        self._log.reports.append(
            ExecutorReport(
                time=received,
                status=ExecutorStatus(message.status),
                reason_code=message.reason_code,
                reason=message.reason,
                chunk=(message.session, int(message.chunk_id)),
                joint="" if worst is None else message.joint_names[worst],
                discontinuity=0.0 if worst is None else float(errors[worst]),
                shadow=bool(message.shadow),
            )
        )
        if message.chunk_id:
            self._ages.append((received, message.chunk_age))

    def _add_policy_status(self, _topic: str, message: Any, received: float) -> None:
        for code, count in self._log.counts.read_policy(message).items():
            self._log.rejections.append(Rejections(received, "policy", code, count))

    def _add_trajectory(self, topic: str, message: Any, received: float) -> None:
        self._log.commands += 1
        start = received
        if time_to_ns(message.header.stamp):
            stamp = self._seconds(message.header.stamp)
            start = received if self._is_other_clock(topic, stamp, received) else stamp
        names = tuple(message.joint_names)
        # A point may have velocities only.
        points = [p for p in message.points if len(p.positions) == len(names)]
        if names and points:
            offsets = [ns_to_s(time_to_ns(point.time_from_start)) for point in points]
            self._log.trajectories.append(
                Trajectory(
                    received,
                    names,
                    start + np.array(offsets),
                    np.array([point.positions for point in points], dtype=float),
                )
            )

    def _add_positions(self, _topic: str, _message: Any, _received: float) -> None:
        self._log.commands += 1

    def _add_diagnostics(self, _topic: str, message: Any, _received: float) -> None:
        for status in message.status:
            if "timing" in status.name:
                self._log.timing = {v.key: v.value for v in status.values}

    def _is_other_clock(self, topic: str, stamp: float, received: float) -> bool:
        if abs(stamp - received) <= _OTHER_CLOCK:
            return False
        self._other_clock.add(topic)
        return True

    def _seconds(self, stamp: Any) -> float:
        return ns_to_s(time_to_ns(stamp) - self._log.start_ns)


def _joint_series(
    topic: str, joints: dict[str, list[tuple[float, float, float]]]
) -> tuple[dict[str, NDArray[np.float64]], list[str]]:
    """Return joint -> (time, position) with ascending times, and what had to be repaired."""
    if not joints:
        return {}, []
    tables = {joint: np.array(rows) for joint, rows in joints.items()}
    stamps, receptions = np.concatenate([table[:, :2] for table in tables.values()]).T
    unset = len(stamps) > 1 and np.ptp(stamps) == 0.0 and np.ptp(receptions) > 0.0
    unusable = unset or bool(np.any(np.abs(stamps - receptions) > _OTHER_CLOCK))
    repairs = []
    if unusable:
        repairs.append(
            f"{topic} has stamps that are not set, or of another clock than the bag: its positions "
            "are shown at their reception."
        )
    series, disordered, repeated = {}, 0, 0
    for joint, table in tables.items():
        times = table[:, 1 if unusable else 0]
        disordered += int(np.sum(np.diff(times) < 0))
        order = np.argsort(times, kind="stable")
        times, positions = times[order], table[order, 2]
        # Of equal times the last one received counts.
        keep = np.append(np.diff(times) > 0, True)
        repeated += int(np.sum(~keep))
        series[joint] = np.stack([times[keep], positions[keep]], axis=1)
    if disordered:
        repairs.append(f"{topic} has {disordered} positions with a stamp before the last: sorted.")
    if repeated:
        repairs.append(f"{topic} has {repeated} positions with repeated stamps: they are left out.")
    return series, repairs


def _changes(followed: Sequence[tuple[float, str]]) -> list[tuple[float, str]]:
    """Return those (time, text) that differ from the one before."""
    texts = ["", *(text for _, text in followed)]
    return [each for each, before in zip(followed, texts, strict=False) if each[1] != before]
