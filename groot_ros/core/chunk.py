# SPDX-License-Identifier: Apache-2.0
"""Action chunks that the policy proposes, and the committed motion that a new chunk continues."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from groot_ros.core.invariants import MalformedError, frozen_float_array, require, require_unique
from groot_ros.core.observation import StampedInput
from groot_ros.core.printable import MAX_MESSAGE, printable
from groot_ros.core.time import s_to_ns

#: Columns of a pose: x, y, z and the first two rows of the rotation matrix.
_POSE_WIDTH = 9
#: s: accepted range of a chunk's dt; other values are a unit error.
CHUNK_DT = (0.001, 1.0)
#: Accepted range of the number of steps: far more than any policy proposes, but few enough to plan
#: within a tick.
CHUNK_STEPS = (2, 1000)


class NoChunkError(Exception):
    """A policy gives no chunk for an observation, for a reason that is no fault of its code.

    Attributes:
        reason: short snake_case code, stable, for counting.
        detail: one line for people.

    """

    def __init__(self, reason: str, detail: str) -> None:
        self.reason = reason
        self.detail = printable(detail, MAX_MESSAGE)
        super().__init__(f"{reason}: {self.detail}")


class ActionKind(IntEnum):
    """Meaning of a group's columns; the numbers of ActionGroup.msg."""

    JOINT_POSITION = 0
    GRIPPER = 2
    POSE_XYZ_ROT6D = 3


class RtcMode(IntEnum):
    """Conditioning of a chunk on committed motion; the numbers of ActionChunk.msg."""

    OFF = 0
    NATIVE = 1
    GUIDED = 2
    TRAINED = 3


def group_width(kind: ActionKind, names: int) -> int:
    """Return the columns per step of a group of this kind with this number of names."""
    return _POSE_WIDTH if kind is ActionKind.POSE_XYZ_ROT6D else names


@dataclass(frozen=True)
class ActionGroup:
    """Absolute targets of one modality group.

    Attributes:
        kind: meaning of the columns.
        name: modality group of the checkpoint.
        names: joint names; for a pose the name of its link.
        units: one per column ("rad", "m", "1").
        values: float64 [horizon, width]; width = len(names), or 9 for a pose.
        frame_id: reference frame of a pose, else empty.

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
        require(bool(self.names), "sizes_disagree", f"{what} has no names")
        require_unique(self.names, what)
        if self.kind is ActionKind.POSE_XYZ_ROT6D:
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
        """Return the number of columns per step."""
        return group_width(self.kind, len(self.names))


@dataclass(frozen=True)
class ActionChunk:
    """Targets of all groups for `horizon` steps; step i is due at start + i*dt.

    The fields after `groups` are described in ActionChunk.msg.
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
    overlap_steps: int = 0
    num_inference_steps: int = 0

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
        """Return the number of steps."""
        return len(self.groups[0].values)

    @property
    def end_ns(self) -> int:
        """Return the time at which the last step is due, ns."""
        return self.start_ns + s_to_ns((self.horizon - 1) * self.dt)


@dataclass(frozen=True)
class ChunkOrigin:
    """Observation and session of a chunk that is about to be inferred.

    Attributes:
        t_obs_ns: stamp of its observation.
        session, episode: session and episode of the policy; the chunk will have the same.
        new_instruction: True if the previous chunk had another instruction.

    """

    t_obs_ns: int
    session: str
    episode: int
    new_instruction: bool


@dataclass(frozen=True)
class Prefix:
    """Committed motion that a new chunk continues.

    Attributes:
        values: action group -> [K, D] absolute targets in the units of the chunk; row i is due
            at step i of the new chunk. K may be shorter than the horizon. Groups without
            committed motion are absent.
        start: [K], 1 where sampling starts from the prefix instead of noise.
        weight: [K], weight that pulls the prediction to the prefix.
        strength: [K], factor on the velocity; 0 freezes a step at its start value.
        clean: [K], 1 where the network sees a step as fully denoised.
        mode: mode of real-time chunking; copied into the chunk.
        frozen_steps: leading steps that must repeat the committed motion exactly; copied into
            the chunk.
        id: id of the committed timeline; copied into the chunk.
        overlap_steps: leading steps that are conditioned in any way; copied into the chunk.

    """

    values: Mapping[str, NDArray[np.float64]]
    start: NDArray[np.floating]
    weight: NDArray[np.floating]
    strength: NDArray[np.floating]
    clean: NDArray[np.floating]
    mode: RtcMode = RtcMode.NATIVE
    frozen_steps: int = 0
    id: int = 0
    overlap_steps: int = 0
