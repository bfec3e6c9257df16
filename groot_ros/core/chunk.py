"""The action chunk: what the policy proposes from one observation."""

from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from groot_ros.core.invariants import MalformedError, frozen_float_array, require, require_unique
from groot_ros.core.observation import StampedInput
from groot_ros.core.time import s_to_ns


class ActionKind(IntEnum):
    """What the columns of a group are; the numbers of ActionGroup.msg."""

    JOINT_POSITION = 0
    JOINT_VELOCITY = 1
    GRIPPER = 2
    POSE_XYZ_ROT6D = 3
    TWIST = 4


class RtcMode(IntEnum):
    """How the chunk was conditioned on committed motion; the numbers of ActionChunk.msg."""

    OFF = 0
    NATIVE = 1
    GUIDED = 2
    TRAINED = 3


#: Columns of the kinds that speak of one link instead of joints.
LINK_WIDTH = {ActionKind.POSE_XYZ_ROT6D: 9, ActionKind.TWIST: 6}


@dataclass(frozen=True)
class ActionGroup:
    """Absolute targets of one modality group.

    Attributes:
        kind: what the columns are.
        name: modality group of the checkpoint.
        names: joints, or the one link that a pose or twist speaks of.
        units: one per column ("rad", "m", "rad/s", "m/s", "1").
        values: float64 [horizon, width]; width = len(names), pose 9, twist 6.
        frame_id: for poses and twists, else empty.

    """

    kind: ActionKind
    name: str
    names: tuple[str, ...]
    units: tuple[str, ...]
    values: NDArray[np.float64]
    frame_id: str = ""

    def __post_init__(self) -> None:
        try:
            object.__setattr__(self, "kind", ActionKind(self.kind))
        except ValueError:
            raise MalformedError(
                "unknown_kind", f"group '{self.name}' is of kind {self.kind}"
            ) from None
        what = f"group '{self.name}'"
        require(bool(self.names), "sizes_disagree", f"{what} names nothing")
        require_unique(self.names, what)
        if self.kind in LINK_WIDTH:
            require(len(self.names) == 1, "sizes_disagree", f"{what} must name exactly one link")
        values = frozen_float_array(self.values, what)
        require(
            values.ndim == 2 and values.shape[1] == self.width,
            "sizes_disagree",
            f"{what} needs values [horizon, {self.width}], not {list(values.shape)}",
        )
        require(
            len(self.units) == self.width,
            "sizes_disagree",
            f"{what} has {len(self.units)} units for {self.width} columns",
        )
        object.__setattr__(self, "values", values)

    @property
    def width(self) -> int:
        """Columns per step."""
        return LINK_WIDTH.get(self.kind, len(self.names))


@dataclass(frozen=True)
class ActionChunk:
    """Targets of all groups for `horizon` steps; step i is due at start + i*dt.

    The fields after `groups` say where the chunk comes from, see ActionChunk.msg.
    """

    stamp_ns: int
    start_ns: int
    dt: float
    groups: tuple[ActionGroup, ...]
    session: str = ""
    episode: int = 0
    id: int = 0
    instruction_id: int = 0
    instruction: str = ""
    rtc_mode: RtcMode = RtcMode.OFF
    frozen_steps: int = 0
    prefix_id: int = 0
    noise_seed: int = 0
    checkpoint_hash: str = ""
    embodiment: str = ""
    engine: str = ""
    inputs: tuple[StampedInput, ...] = field(default=())
    stage_seconds: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        require(
            np.isfinite(self.dt) and self.dt > 0, "bad_dt", f"dt must be positive, not {self.dt}"
        )
        require(bool(self.groups), "no_groups", "the chunk has no groups")
        require_unique([g.name for g in self.groups], "the chunk's groups")
        lengths = {g.name: len(g.values) for g in self.groups}
        require(
            len(set(lengths.values())) == 1,
            "sizes_disagree",
            f"groups differ in steps: {lengths}",
        )
        require(self.horizon > 0, "sizes_disagree", "the chunk has no steps")
        require_unique([n for g in self.groups for n in g.names], "the chunk")
        require(
            0 <= self.frozen_steps <= self.horizon,
            "sizes_disagree",
            f"{self.frozen_steps} frozen steps in a horizon of {self.horizon}",
        )

    @property
    def horizon(self) -> int:
        """Number of steps."""
        return len(self.groups[0].values)

    @property
    def end_ns(self) -> int:
        """When the last step is due."""
        return self.start_ns + s_to_ns((self.horizon - 1) * self.dt)
