# SPDX-License-Identifier: Apache-2.0
"""Streaming of a planned path as chunks, and what the executor says about its execution."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from groot_ros.core import NS_PER_S, CommittedTimeline, ns_to_s, s_to_ns

# The package imports mink, which other policies do not need.
if TYPE_CHECKING:
    from groot_ros.primitives import JointPath

#: rad/s or m/s below which a joint is at rest.
_REST = 0.02
#: s from the start of a path until the executor must report that it moves.
_PICKUP_TIME = 2.0


@dataclass(frozen=True)
class ExecutionReport:
    """State of the executor, as far as it matters to a path.

    Attributes:
        stamp_ns: time of the report.
        running: whether it executes chunks.
        stop: why it accepts none until an operator acts: "estopped", "on_hold" or
            "executor_stopped"; "" if it accepts them.
        reason: its own reason, for people.
        speed_scaling: rate of the motion.

    """

    stamp_ns: int
    running: bool
    stop: str = ""
    reason: str = ""
    speed_scaling: float = 1.0


class PathStream:
    """Progress along one path; the path begins at `start_ns` and its time passes as the motion's.

    Args:
        path: the planned path.
        start_ns: time at which it begins; it may be in the future.
        now_ns: stamp of the observation that it was planned for.

    """

    def __init__(self, path: "JointPath", start_ns: int, now_ns: int) -> None:
        self.path = path
        self._start_ns = start_ns
        #: Path time at the stamp of the last observation, s; negative before the start.
        self._at = ns_to_s(now_ns - start_ns)
        self._stamp_ns = now_ns
        self._executed = False

    @property
    def remaining(self) -> float:
        """Return the time from the last observation to the end of the path, s; negative after."""
        return self.path.duration - self._at

    def advance(self, stamp_ns: int, report: ExecutionReport | None) -> None:
        """Let the time since the last observation pass, at the rate of the motion.

        The path does not begin before the executor executes its chunks, which hold the start until
        then: otherwise it would be joined in the middle.
        """
        passed = max(0.0, ns_to_s(stamp_ns - self._stamp_ns))
        self._stamp_ns = stamp_ns
        if report is None:
            self._at += passed
        elif self._executed:
            self._at += passed * report.speed_scaling
        else:
            self._at = min(self._at + passed, 0.0)

    def sample(self, dt: float, steps: int) -> NDArray[np.float64]:
        """Return the positions of a chunk that starts at the last observation, [steps, joints]."""
        return self.path.sample(self._at, dt, steps)

    def deviation(self, timeline: CommittedTimeline | None, joints: Collection[str]) -> float:
        """Return the largest distance of the committed motion from the path now, rad or m.

        Args:
            timeline: newest timeline of the executor; 0 is returned unless it covers the last
                observation.
            joints: joints to compare.

        """
        if timeline is None or not self._executed:
            return 0.0
        if not timeline.start_ns <= self._stamp_ns <= timeline.end_ns:
            return 0.0
        rows = timeline.start_ns + np.arange(len(timeline.positions)) * (timeline.dt * NS_PER_S)
        planned = dict(zip(self.path.joints, self.sample(1.0, 1)[0], strict=True))
        return max(
            (
                abs(float(np.interp(self._stamp_ns, rows, column)) - planned[name])
                for name, column in zip(timeline.joint_names, timeline.positions.T, strict=True)
                if name in joints and name in planned
            ),
            default=0.0,
        )

    def interruption(self, report: ExecutionReport | None, now_ns: int) -> str:
        """Return why the executor does not execute this path, or an empty string.

        Without a report nothing is known, so there is no interruption.

        Args:
            report: its newest report.
            now_ns: ROS time.

        """
        if report is None:
            return ""
        if report.stop:
            return f"the executor stopped: {report.reason}"
        if report.stamp_ns < self._start_ns:
            return ""
        if report.running:
            self._executed = True
            return ""
        if self._executed:
            return f"the executor ended the motion: {report.reason}"
        if ns_to_s(now_ns - self._start_ns) > _PICKUP_TIME:
            return f"the executor did not begin the motion: {report.reason}"
        return ""


def committed_start(
    timeline: CommittedTimeline, measured: dict[str, float], at_ns: int, tolerance: float
) -> dict[str, float] | None:
    """Return where the committed motion leaves the joints, joint -> rad or m.

    Args:
        timeline: newest timeline of the executor.
        measured: measured positions of joints.
        at_ns: time of the positions; after its end a timeline holds its last row.
        tolerance: distance from the measured positions from which the timeline is an old one, rad
            or m.

    Returns:
        The measured positions where the timeline is an old one, and None while a joint moves.

    """
    row = (at_ns - timeline.start_ns) / (timeline.dt * NS_PER_S)
    last = len(timeline.positions) - 1
    index = int(min(max(np.ceil(row), 0), last))
    committed = dict(zip(timeline.joint_names, timeline.positions[index].tolist(), strict=True))
    if any(abs(committed[j] - q) > tolerance for j, q in measured.items() if j in committed):
        old = at_ns > timeline.end_ns + s_to_ns(_PICKUP_TIME)
        return dict(measured) if old else None
    if row <= last and np.abs(timeline.velocities[index]).max() > _REST:
        return None
    return {**measured, **committed}
