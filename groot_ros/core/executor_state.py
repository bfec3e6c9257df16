"""What the executor is doing and why."""

from dataclasses import dataclass, field
from enum import IntEnum

from groot_ros.core.invariants import require


class ExecutorStatus(IntEnum):
    """The numbers of ExecutorState.msg."""

    IDLE = 0
    RUNNING = 1
    BRAKING = 2
    HOLDING = 3
    ESTOPPED = 4


@dataclass(frozen=True)
class ExecutorState:
    """One report; the fields are those of ExecutorState.msg, and one more.

    Attributes:
        latched: only ~/resume ends this stop; the message says so in its reason.

    """

    stamp_ns: int
    status: ExecutorStatus
    reason: str
    joint_names: tuple[str, ...]
    splice_discontinuity: tuple[float, ...]
    limited_chunks: tuple[int, ...]
    shadow: bool = False
    hold: bool = False
    estop: bool = False
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
    latched: bool = False

    def __post_init__(self) -> None:
        n = len(self.joint_names)
        require(
            len(self.splice_discontinuity) == n and len(self.limited_chunks) == n,
            "sizes_disagree",
            f"{len(self.splice_discontinuity)} seam jumps, {len(self.limited_chunks)} limit hits, {n} joints",
        )
