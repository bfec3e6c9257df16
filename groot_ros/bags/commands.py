# SPDX-License-Identifier: Apache-2.0
"""Active commands: what the robot was told to do at a time, from the topics of a bag.

Three sources are possible, in this order: the joint states of a leader arm, the committed motion of
an executor that moved the robot, and the messages on the controllers' topics.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from groot_ros.bags.streams import JointSamples, interpolate
from groot_ros.core import NS_PER_S, CommittedTimeline, MalformedError, time_to_ns
from groot_ros.robot import RobotContract


@dataclass(frozen=True)
class Segment:
    """Motion that one message commanded, active from `begin_ns` until the next message.

    Attributes:
        begin_ns: when it came into force.
        stamps_ns: int64 [K], ascending, at least one; the last position is held afterwards.
        positions: float64 [K], rad or m.

    """

    begin_ns: int
    stamps_ns: NDArray[np.int64]
    positions: NDArray[np.float64]

    def at(self, times_ns: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return positions [T]; those of the first knot before it, of the last one after it."""
        inside = np.clip(times_ns, self.stamps_ns[0], self.stamps_ns[-1])
        return interpolate(self.stamps_ns, self.positions, inside)


class Commands:
    """Active commands of each joint.

    Args:
        segments: joint -> motion by message, in the order of their times.
        sampled: joint -> samples of a leader, which take precedence.
        sources: joint -> where its commands are from: "leader", "executor" or a topic.

    """

    def __init__(
        self,
        segments: Mapping[str, Sequence[Segment]],
        sampled: JointSamples | None,
        sources: Mapping[str, str],
    ) -> None:
        self._segments = {j: own for j, own in segments.items() if own}
        self._begins = {j: [s.begin_ns for s in own] for j, own in self._segments.items()}
        self._sampled = sampled
        self.sources = dict(sources)

    @property
    def joints(self) -> tuple[str, ...]:
        """Return the joints that were commanded."""
        return tuple(self.sources)

    def at(self, joint: str, times_ns: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the commands [T], rad or m, of one joint at these times; NaN without one.

        Raises:
            KeyError: the joint was never commanded.

        """
        if self.sources[joint] == LEADER:
            assert self._sampled is not None
            return self._sampled.at(joint, times_ns)
        times = np.asarray(times_ns, dtype=np.int64)
        which = np.searchsorted(self._begins[joint], times, side="right") - 1
        result = np.full(len(times), np.nan)
        for index in np.unique(which[which >= 0]):
            own = which == index
            result[own] = self._segments[joint][index].at(times[own])
        return result

    def since(self, joint: str) -> int:
        """Return when the first command of a joint came into force, ns."""
        if self.sources[joint] == LEADER:
            assert self._sampled is not None
            return int(self._sampled.stamps_ns[joint][0])
        return int(self._begins[joint][0])


#: Values of `Commands.sources` that are not topics.
LEADER, EXECUTOR = "leader", "executor"


class CommandCollector:
    """Collects the commands of a bag while it is read.

    Args:
        contract: names the joints and the controllers.

    """

    def __init__(self, contract: RobotContract) -> None:
        self._joints = frozenset(contract.joints)
        #: Set by an executor that only observes: its committed motion was not sent.
        self.shadow = False
        self._timelines: dict[str, list[Segment]] = {}
        self._messages: dict[str, list[Segment]] = {}
        self._topics: dict[str, str] = {}

    def add_timeline(self, timeline: CommittedTimeline, received_ns: int) -> None:
        """Add committed motion; active from its reception on."""
        rows = np.round(np.arange(len(timeline.positions)) * (timeline.dt * NS_PER_S))
        stamps = timeline.start_ns + rows.astype(np.int64)
        for column, joint in enumerate(timeline.joint_names):
            if joint in self._joints:
                segment = Segment(received_ns, stamps, timeline.positions[:, column])
                self._timelines.setdefault(joint, []).append(segment)

    def add_trajectory(self, topic: str, message: Any, received_ns: int) -> None:
        """Add a trajectory_msgs/JointTrajectory.

        Like the controller, it begins at its reception, where the previous command is then.

        Raises:
            MalformedError: the controller rejects it as well: a position is missing or not finite,
                or the points are not in the order of their times.

        """
        names = message.joint_names
        for number, point in enumerate(message.points):
            if len(point.positions) != len(names):
                raise MalformedError(
                    "bad_trajectory",
                    f"point {number} has {len(point.positions)} positions for {len(names)} joints",
                )
            if not np.isfinite(point.positions).all():
                raise MalformedError("not_finite", f"a position of point {number} is not finite")
        start = time_to_ns(message.header.stamp) or received_ns
        offsets = [time_to_ns(p.time_from_start) for p in message.points]
        if any(after <= before for before, after in pairwise(offsets)):
            raise MalformedError("bad_trajectory", "the times of its points do not increase")
        for column, joint in enumerate(message.joint_names):
            if joint not in self._joints or not offsets:
                continue
            values = [float(p.positions[column]) for p in message.points]
            stamps = [start + offset for offset in offsets]
            before = self._messages.get(joint)
            if before and stamps[0] > received_ns:
                previous = before[-1].at(np.array([received_ns], dtype=np.int64))
                stamps, values = [received_ns, *stamps], [float(previous[0]), *values]
            self._add(joint, topic, received_ns, stamps, values)

    def add_positions(
        self, topic: str, joints: Sequence[str], values: Sequence[float], received_ns: int
    ) -> None:
        """Add target positions without a stamp, as of a forward_command_controller.

        Raises:
            MalformedError: the controller rejects them as well: there is not one for each joint, or
                one is not finite.

        """
        if len(values) != len(joints):
            raise MalformedError(
                "bad_positions", f"it has {len(values)} positions for {len(joints)} joints"
            )
        if not np.isfinite(values).all():
            raise MalformedError("not_finite", "a position is not finite")
        for joint, value in zip(joints, values, strict=True):
            self._add(joint, topic, received_ns, [received_ns], [float(value)])

    def commands(self, leader: JointSamples | None = None) -> Commands:
        """Return what was collected; `leader` takes precedence."""
        segments, sources = dict(self._messages), dict(self._topics)
        if not self.shadow:
            segments |= self._timelines
            sources |= dict.fromkeys(self._timelines, EXECUTOR)
        if leader is not None:
            sources |= dict.fromkeys(leader.joints, LEADER)
        return Commands(segments, leader, {j: sources[j] for j in sorted(sources)})

    def _add(
        self, joint: str, topic: str, begin: int, stamps: list[int], values: list[float]
    ) -> None:
        segment = Segment(begin, np.array(stamps, dtype=np.int64), np.array(values))
        self._messages.setdefault(joint, []).append(segment)
        self._topics.setdefault(joint, topic)
