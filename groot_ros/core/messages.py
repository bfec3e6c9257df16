# SPDX-License-Identifier: Apache-2.0
"""Records from messages; malformed messages raise MalformedError.

Only the fields of a message are read, so that messages of a node and of a bag, which are classes
of different libraries, are converted by the same functions.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from groot_ros.core.chunk import (
    CHUNK_STEPS,
    ActionChunk,
    ActionGroup,
    ActionKind,
    RtcMode,
    group_width,
)
from groot_ros.core.execution import CommittedTimeline
from groot_ros.core.invariants import MalformedError, require
from groot_ros.core.observation import StampedInput
from groot_ros.core.time import time_to_ns

#: Largest number of rows of a timeline: more than any executor sends.
_MAX_ROWS = 100_000
#: Range of the time between two rows of a timeline, s.
_ROW_RANGE = (1e-5, 1.0)
#: Largest valid value, rad or m, and per s; larger values are errors, and their squares may
#: overflow.
_MAX_VALUE = 1e6
#: Chunk ids and episodes must be smaller: near the end of the type no later chunk could follow.
_MAX_ID, _MAX_EPISODE = 2**53, 2**31


def chunk_from_msg(msg: Any) -> ActionChunk:
    """Convert a message to a chunk; raise MalformedError if the chunk would be invalid."""
    horizon = int(msg.horizon)
    require(horizon > 0, "sizes_disagree", "the chunk's horizon is 0")
    longest = CHUNK_STEPS[1]
    require(horizon <= longest, "too_long", f"{horizon} steps in a chunk, at most {longest}")
    require(bool(msg.session.strip()), "no_session", "the chunk has no session")
    require(
        msg.id < _MAX_ID and msg.episode < _MAX_EPISODE,
        "bad_number",
        f"chunk {msg.id} of episode {msg.episode}: the numbers are too large",
    )
    require(msg.rtc_mode in set(RtcMode), "unknown_kind", f"rtc_mode is {msg.rtc_mode}")
    return ActionChunk(
        stamp_ns=time_to_ns(msg.header.stamp),
        start_ns=time_to_ns(msg.start),
        dt=float(msg.dt),
        groups=tuple(_group_from_msg(g, horizon) for g in msg.groups),
        session=msg.session,
        episode=int(msg.episode),
        id=int(msg.id),
        instruction_id=int(msg.instruction_id),
        instruction=msg.instruction,
        rtc_mode=RtcMode(msg.rtc_mode),
        frozen_steps=int(msg.frozen_steps),
        prefix_id=int(msg.prefix_id),
        noise_seed=int(msg.noise_seed),
        checkpoint_hash=msg.checkpoint_hash,
        embodiment=msg.embodiment,
        engine=msg.engine,
        inputs=tuple(StampedInput(i.name, time_to_ns(i.stamp)) for i in msg.inputs),
        stage_seconds={stage.name: float(stage.seconds) for stage in msg.stages},
        # Bags of 0.2.0 do not have the fields that were appended later.
        overlap_steps=int(getattr(msg, "overlap_steps", 0)),
        num_inference_steps=int(getattr(msg, "num_inference_steps", 0)),
    )


def timeline_from_msg(msg: Any) -> CommittedTimeline:
    """Convert a message to a timeline; raise MalformedError if the timeline would be invalid."""
    joints = len(msg.joint_names)
    rows = len(msg.positions) // max(1, joints)
    require(rows <= _MAX_ROWS, "too_long", f"{rows} rows in a timeline, at most {_MAX_ROWS}")
    timeline = CommittedTimeline(
        stamp_ns=time_to_ns(msg.header.stamp),
        id=int(msg.id),
        session=msg.session,
        episode=int(msg.episode),
        chunk_id=int(msg.chunk_id),
        start_ns=time_to_ns(msg.start),
        dt=float(msg.dt),
        joint_names=tuple(msg.joint_names),
        positions=_matrix(msg.positions, joints, "positions"),
        velocities=_matrix(msg.velocities, joints, "velocities"),
    )
    low, high = _ROW_RANGE
    valid = low <= timeline.dt <= high
    require(valid, "bad_dt", f"rows {timeline.dt:g} s apart, expected {low:g} to {high:g} s")
    for what, values in (("positions", timeline.positions), ("velocities", timeline.velocities)):
        _require_motion(values, f"{what} of the timeline")
    return timeline


def _group_from_msg(msg: Any, horizon: int) -> ActionGroup:
    known = msg.kind in set(ActionKind)
    require(known, "unknown_kind", f"group '{msg.name}' is of kind {msg.kind}")
    width = group_width(ActionKind(msg.kind), len(msg.names))
    require(
        width > 0 and len(msg.values) == horizon * width,
        "sizes_disagree",
        f"group '{msg.name}' has {len(msg.values)} values for {horizon} steps x {width} columns",
    )
    group = ActionGroup(
        kind=ActionKind(msg.kind),
        name=msg.name,
        names=tuple(msg.names),
        units=tuple(msg.units),
        values=np.frombuffer(msg.values, dtype=np.float64).reshape(horizon, width),
        frame_id=msg.frame_id,
    )
    _require_motion(group.values, f"group '{msg.name}'")
    return group


def _require_motion(values: NDArray[np.float64], what: str) -> None:
    largest = float(np.abs(values).max())
    require(
        largest <= _MAX_VALUE,
        "out_of_range",
        f"{what}: {largest:g} is out of range, at most {_MAX_VALUE:g}",
    )


def _matrix(values: Sequence[float] | Iterable[float], columns: int, what: str) -> NDArray:
    flat = np.asarray(values, dtype=np.float64)
    if columns == 0 or flat.size % columns:
        raise MalformedError("sizes_disagree", f"{flat.size} {what} for {columns} joints")
    return flat.reshape(-1, columns)
