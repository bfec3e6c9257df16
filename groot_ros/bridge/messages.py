# SPDX-License-Identifier: Apache-2.0
"""Conversion between records (`core`) and messages; malformed messages raise MalformedError."""

import importlib
from array import array
from collections.abc import Mapping

import numpy as np
from builtin_interfaces.msg import Time
from numpy.typing import NDArray

from groot_ros.core import (
    NS_PER_S,
    ActionChunk,
    ActionGroup,
    CommittedTimeline,
    ExecutorState,
)
from groot_ros.msg import ActionChunk as ActionChunkMsg
from groot_ros.msg import ActionGroup as ActionGroupMsg
from groot_ros.msg import CommittedTimeline as CommittedTimelineMsg
from groot_ros.msg import ExecutorState as ExecutorStateMsg
from groot_ros.msg import InputStamp, RejectionCount, StageDuration


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
        overlap_steps=chunk.overlap_steps,
        num_inference_steps=chunk.num_inference_steps,
    )
    msg.header.stamp = ns_to_time(chunk.stamp_ns)
    return msg


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


def _doubles(values: NDArray[np.float64]) -> array:
    # array.array is fast with and without rclpy's checks of field types.
    return array("d", np.ascontiguousarray(values, dtype=np.float64).tobytes())
