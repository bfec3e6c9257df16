# SPDX-License-Identifier: Apache-2.0
"""Records that the executor publishes: committed motion, and its state."""

from dataclasses import dataclass, field
from enum import Enum, IntEnum

import numpy as np
from numpy.typing import NDArray

from groot_ros.core.invariants import frozen_float_array, require, require_unique
from groot_ros.core.time import s_to_ns

#: Topics with joint states for views: the committed positions, and the end of the newest chunk.
COMMITTED_JOINT_STATES, PROPOSED_JOINT_STATES = "committed_joint_states", "proposed_joint_states"


@dataclass(frozen=True)
class CommittedTimeline:
    """Motion after limits, sent and yet to be sent; row i is due at start + i*dt.

    Attributes:
        stamp_ns: time of publication.
        positions: float64 [rows, joints], rad or m.
        velocities: float64 [rows, joints], rad/s or m/s.

    """

    stamp_ns: int
    id: int
    session: str
    episode: int
    chunk_id: int
    start_ns: int
    dt: float
    joint_names: tuple[str, ...]
    positions: NDArray[np.float64]
    velocities: NDArray[np.float64]

    def __post_init__(self) -> None:
        require(
            np.isfinite(self.dt) and self.dt > 0, "bad_dt", f"dt must be positive, not {self.dt}"
        )
        require(bool(self.joint_names), "sizes_disagree", "the timeline names no joints")
        require_unique(self.joint_names, "the timeline")
        positions = frozen_float_array(self.positions, "positions")
        velocities = frozen_float_array(self.velocities, "velocities")
        require(
            positions.ndim == 2
            and positions.shape == velocities.shape
            and positions.shape[1] == len(self.joint_names),
            "sizes_disagree",
            f"positions {list(positions.shape)} and velocities {list(velocities.shape)} "
            f"for {len(self.joint_names)} joints",
        )
        require(len(positions) > 0, "sizes_disagree", "the timeline has no rows")
        object.__setattr__(self, "positions", positions)
        object.__setattr__(self, "velocities", velocities)

    @property
    def end_ns(self) -> int:
        """Return the time at which the last row is due, ns."""
        return self.start_ns + s_to_ns((len(self.positions) - 1) * self.dt)


class ExecutorStatus(IntEnum):
    """Status of the executor; the numbers of ExecutorState.msg."""

    IDLE = 0
    RUNNING = 1
    BRAKING = 2
    HOLDING = 3
    ESTOPPED = 4


class ReasonCode(str, Enum):
    """Reason of the executor's status; the REASON_* constants of ExecutorState.msg."""

    EXECUTING = "EXECUTING"
    WAITING = "WAITING"
    NO_CHUNK = "NO_CHUNK"
    CHUNKS_REJECTED = "CHUNKS_REJECTED"
    OPERATOR_HOLD = "OPERATOR_HOLD"
    RELEASED = "RELEASED"
    EMERGENCY_STOP = "EMERGENCY_STOP"
    RESUMED = "RESUMED"
    RESET = "RESET"
    STEP_DONE = "STEP_DONE"
    STOPPED = "STOPPED"
    DEACTIVATED = "DEACTIVATED"
    NO_INSTRUCTION = "NO_INSTRUCTION"
    INSTRUCTION_CHANGED = "INSTRUCTION_CHANGED"
    TOO_MANY_UNDERRUNS = "TOO_MANY_UNDERRUNS"
    TRACKING_ERROR = "TRACKING_ERROR"
    JOINT_STATES_LOST = "JOINT_STATES_LOST"
    CANNOT_STOP = "CANNOT_STOP"
    CLOCK_JUMP = "CLOCK_JUMP"
    CLOCK_STALLED = "CLOCK_STALLED"
    CONTROLLER_INACTIVE = "CONTROLLER_INACTIVE"
    PAUSED = "PAUSED"
    SECOND_EXECUTOR = "SECOND_EXECUTOR"
    SEND_FAILED = "SEND_FAILED"
    RESTARTED = "RESTARTED"
    INTERNAL_ERROR = "INTERNAL_ERROR"


class ControlSource(IntEnum):
    """Source of the commands that are executed; the SOURCE_* constants of ExecutorState.msg."""

    POLICY = 0
    HUMAN = 1
    HOLD = 2


@dataclass(frozen=True)
class ExecutorState:
    """State of the executor at one instant; the fields of ExecutorState.msg.

    Attributes:
        reason_code: reason of the status, for programs.
        reason: reason of the status as text, for people.
        splice_discontinuity: committed motion minus chunk, unblended; one per joint, rad or m.
        limited_chunks: one count per joint.
        latched: True if only ~/resume ends this stop.
        intervention_id: 0 = none.
        rejections: rejection code -> count.
        speed_scaling: rate of the motion, in [0, 1], as the robot reports it.
        splice_lead_time: present lead time of splices, s.
        splice_delay: s from sending the last late message to its effect; 0 before the first.
        late_splices: splices that took effect late.
        limit_deviation: how far limits changed the last chunk; one per joint, rad or m; empty if
            not stated.
        instruction: the instruction that is followed; empty after a stop or before the first.
        instruction_id: number that the policy gave it; 0 before the first.
        instruction_mismatch: how it differs from the policy's, once this has lasted 1 s.

    """

    stamp_ns: int
    status: ExecutorStatus
    reason_code: ReasonCode
    reason: str
    joint_names: tuple[str, ...]
    splice_discontinuity: tuple[float, ...]
    limited_chunks: tuple[int, ...]
    latched: bool = False
    shadow: bool = False
    hold: bool = False
    estop: bool = False
    control_source: ControlSource = ControlSource.POLICY
    intervention_id: int = 0
    session: str = ""
    episode: int = 0
    chunk_id: int = 0
    step: float = 0.0
    chunk_age: float = 0.0
    time_until_braking: float = 0.0
    received: int = 0
    accepted: int = 0
    underruns: int = 0
    rejections: dict[str, int] = field(default_factory=dict)
    speed_scaling: float = 1.0
    splice_lead_time: float = 0.0
    splice_delay: float = 0.0
    late_splices: int = 0
    limit_deviation: tuple[float, ...] = ()
    instruction: str = ""
    instruction_id: int = 0
    instruction_mismatch: str = ""

    def __post_init__(self) -> None:
        n = len(self.joint_names)
        require(
            len(self.splice_discontinuity) == n and len(self.limited_chunks) == n,
            "sizes_disagree",
            f"{len(self.splice_discontinuity)} splice discontinuities and "
            f"{len(self.limited_chunks)} limited chunk counts for {n} joints",
        )
