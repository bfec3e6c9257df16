"""The committed timeline: what was and will be sent to the controllers."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from groot_ros.core.invariants import frozen_float_array, require, require_unique
from groot_ros.core.time import s_to_ns


@dataclass(frozen=True)
class CommittedTimeline:
    """Motion after limits, row i at start + i*dt.

    Attributes:
        stamp_ns: when it was published.
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
        """Time of the last row."""
        return self.start_ns + s_to_ns((len(self.positions) - 1) * self.dt)
