# SPDX-License-Identifier: Apache-2.0
"""Conversion between records (`core`) and messages; malformed messages raise MalformedError."""

import importlib
from array import array
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from builtin_interfaces.msg import Time
from numpy.typing import NDArray

from groot_ros.core import (
    CHUNK_STEPS,
    NS_PER_S,
    ActionChunk,
    ActionGroup,
    ActionKind,
    CommittedTimeline,
    ExecutorState,
    MalformedError,
    RtcMode,
    StampedInput,
    group_width,
    time_to_ns,
)
from groot_ros.core.invariants import require
from groot_ros.msg import ActionChunk as ActionChunkMsg
from groot_ros.msg import ActionGroup as ActionGroupMsg
from groot_ros.msg import CommittedTimeline as CommittedTimelineMsg
from groot_ros.msg import ExecutorState as ExecutorStateMsg
from groot_ros.msg import InputStamp, RejectionCount, StageDuration

#: Largest number of rows of a timeline: more than any executor sends.
_MAX_ROWS = 100_000
#: Range of the time between two rows of a timeline, s.
_ROW_RANGE = (1e-5, 1.0)
#: Largest valid value, rad or m, and per s; larger values are errors, and their squares may
#: overflow.
_MAX_VALUE = 1e6
#: Chunk ids and episodes must be smaller: near the end of the type no later chunk could follow.
_MAX_ID, _MAX_EPISODE = 2**53, 2**31


def ns_to_time(nanoseconds: int) -> Time:
    """Convert integer nanoseconds to a stamp."""
    return Time(sec=int(nanoseconds // NS_PER_S), nanosec=int(nanoseconds % NS_PER_S))


def message_class(type_name: str) -> type:
    """Return the class of a message type "package/msg/Name".

    Raises:
        ValueError: it is not installed.

    """
    package, _, name = type_name.partition("/msg/")
    try:
        return getattr(importlib.import_module(f"{package}.msg"), name)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"{type_name} is not installed: source its workspace") from error


def chunk_to_msg(chunk: ActionChunk) -> ActionChunkMsg:
    """Convert a chunk to its message."""
    msg = ActionChunkMsg(
        start=ns_to_time(chunk.start_ns),
        dt=float(chunk.dt),
        horizon=chunk.horizon,
        session=chunk.session,
        episode=chunk.episode,
        id=chunk.id,
        instruction_id=chunk.instruction_id,
        instruction=chunk.instruction,
        groups=[_group_to_msg(g) for g in chunk.groups],
        rtc_mode=int(chunk.rtc_mode),
        frozen_steps=chunk.frozen_steps,
        prefix_id=chunk.prefix_id,
        noise_seed=chunk.noise_seed,
        checkpoint_hash=chunk.checkpoint_hash,
        embodiment=chunk.embodiment,
        engine=chunk.engine,
        inputs=[InputStamp(name=i.name, stamp=ns_to_time(i.stamp_ns)) for i in chunk.inputs],
        stages=[StageDuration(name=n, seconds=s) for n, s in chunk.stage_seconds.items()],
    )
    msg.header.stamp = ns_to_time(chunk.stamp_ns)
    return msg


def chunk_from_msg(msg: ActionChunkMsg) -> ActionChunk:
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
    )


def timeline_to_msg(timeline: CommittedTimeline) -> CommittedTimelineMsg:
    """Convert a timeline to its message."""
    msg = CommittedTimelineMsg(
        id=timeline.id,
        session=timeline.session,
        episode=timeline.episode,
        chunk_id=timeline.chunk_id,
        start=ns_to_time(timeline.start_ns),
        dt=float(timeline.dt),
        joint_names=list(timeline.joint_names),
        positions=_doubles(timeline.positions),
        velocities=_doubles(timeline.velocities),
    )
    msg.header.stamp = ns_to_time(timeline.stamp_ns)
    return msg


def timeline_from_msg(msg: CommittedTimelineMsg) -> CommittedTimeline:
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


def executor_state_to_msg(state: ExecutorState) -> ExecutorStateMsg:
    """Convert an executor state to its message."""
    msg = ExecutorStateMsg(
        status=int(state.status),
        reason_code=state.reason_code.value,
        reason=state.reason,
        latched=state.latched,
        shadow=state.shadow,
        hold=state.hold,
        estop=state.estop,
        control_source=int(state.control_source),
        intervention_id=state.intervention_id,
        session=state.session,
        episode=state.episode,
        chunk_id=state.chunk_id,
        step=float(state.step),
        chunk_age=float(state.chunk_age),
        time_until_braking=float(state.time_until_braking),
        joint_names=list(state.joint_names),
        splice_discontinuity=array("d", state.splice_discontinuity),
        limited_chunks=array("Q", state.limited_chunks),
        received=state.received,
        accepted=state.accepted,
        underruns=state.underruns,
        rejections=rejection_counts(state.rejections),
        speed_scaling=state.speed_scaling,
        splice_lead_time=state.splice_lead_time,
        splice_delay=state.splice_delay,
        late_splices=state.late_splices,
        limit_deviation=array("d", state.limit_deviation),
        instruction=state.instruction,
        instruction_id=state.instruction_id,
        instruction_mismatch=state.instruction_mismatch,
    )
    msg.header.stamp = ns_to_time(state.stamp_ns)
    return msg


def rejection_counts(counts: Mapping[str, int]) -> list[RejectionCount]:
    """Convert counts by code to messages."""
    return [RejectionCount(code=code, count=count) for code, count in counts.items()]


def _group_to_msg(group: ActionGroup) -> ActionGroupMsg:
    return ActionGroupMsg(
        kind=int(group.kind),
        name=group.name,
        names=list(group.names),
        units=list(group.units),
        frame_id=group.frame_id,
        values=_doubles(group.values),
    )


def _group_from_msg(msg: ActionGroupMsg, horizon: int) -> ActionGroup:
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


def _doubles(values: NDArray[np.float64]) -> array:
    # array.array is fast with and without rclpy's checks of field types.
    return array("d", np.ascontiguousarray(values, dtype=np.float64).tobytes())


def _matrix(values: Sequence[float] | Iterable[float], columns: int, what: str) -> NDArray:
    flat = np.asarray(values, dtype=np.float64)
    if columns == 0 or flat.size % columns:
        raise MalformedError("sizes_disagree", f"{flat.size} {what} for {columns} joints")
    return flat.reshape(-1, columns)
