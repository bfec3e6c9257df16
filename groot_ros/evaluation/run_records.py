# SPDX-License-Identifier: Apache-2.0
"""Records of one run, as arrays; `run_log` reads them from a bag."""

from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from groot_ros.core import ExecutorStatus
from groot_ros.evaluation.counters import RunCounts

#: Session and number of a chunk; ("", 0) without one.
ChunkKey: TypeAlias = tuple[str, int]
NO_CHUNK: ChunkKey = ("", 0)


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
    key: ChunkKey = NO_CHUNK


@dataclass(frozen=True)
class Timeline:
    """A committed timeline; row i is due at start + i*dt seconds since the start of the log."""

    received: float
    start: float
    dt: float
    joint_names: tuple[str, ...]
    positions: NDArray[np.float64]
    chunk: ChunkKey = NO_CHUNK

    @property
    def times(self) -> NDArray[np.float64]:
        """Return when each row is due, s."""
        return self.start + self.dt * np.arange(len(self.positions), dtype=np.float64)


@dataclass(frozen=True)
class Trajectory:
    """Positions [K, joints], due at times [K], that one message to a controller commanded."""

    received: float
    joint_names: tuple[str, ...]
    times: NDArray[np.float64]
    positions: NDArray[np.float64]


@dataclass(frozen=True)
class ExecutorReport:
    """One ExecutorState.

    Attributes:
        joint, discontinuity: joint with the largest splice discontinuity, and that, rad or m; empty
            and 0 without joints.

    """

    time: float
    status: ExecutorStatus
    reason_code: str
    reason: str
    chunk: ChunkKey
    joint: str
    discontinuity: float
    shadow: bool


@dataclass(frozen=True)
class Rejections:
    """Observations (node "policy") or chunks ("executor") rejected since the report before."""

    time: float
    node: str
    code: str
    count: int


@dataclass
class RunLog:
    """One run; times are seconds since the first message of the bag.

    Attributes:
        joints: joint -> [N, 2] of (time, measured position), in the order of their times.
        statuses: [M, 2] of (time, ExecutorStatus).
        chunk_ages: [M, 2] of (time, chunk age) while a chunk was being executed.
        counts: what policy and executor counted.
        instructions: (time, text) of each change of the instruction that was followed.
        trajectories: what was commanded on the controllers' topics with joint names.
        commands: messages on the controllers' topics.
        timing: name -> value of the executor's last timing report on /diagnostics.
        units: joint -> unit of its position in the chunks.
        cameras: camera topic -> number of its images.
        types: message types of the bag.
        repairs: sentences about data that was repaired or left out.

    """

    start_ns: int
    duration: float
    joints: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    chunks: list[Chunk] = field(default_factory=list)
    timelines: list[Timeline] = field(default_factory=list)
    trajectories: list[Trajectory] = field(default_factory=list)
    reports: list[ExecutorReport] = field(default_factory=list)
    rejections: list[Rejections] = field(default_factory=list)
    statuses: NDArray[np.float64] = field(default_factory=lambda: np.empty((0, 2)))
    chunk_ages: NDArray[np.float64] = field(default_factory=lambda: np.empty((0, 2)))
    counts: RunCounts = field(default_factory=RunCounts)
    instructions: list[tuple[float, str]] = field(default_factory=list)
    commands: int = 0
    timing: dict[str, str] = field(default_factory=dict)
    units: dict[str, str] = field(default_factory=dict)
    cameras: dict[str, int] = field(default_factory=dict)
    types: frozenset[str] = frozenset()
    repairs: list[str] = field(default_factory=list)

    @property
    def images(self) -> int:
        """Return the number of images of all cameras."""
        return sum(self.cameras.values())

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
