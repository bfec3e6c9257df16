# SPDX-License-Identifier: Apache-2.0
"""A record is unchanged after conversion to a message and back; malformed messages are rejected."""

from array import array

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rclpy.serialization import deserialize_message, serialize_message

from groot_ros.bridge.messages import (
    chunk_to_msg,
    executor_state_to_msg,
    ns_to_time,
    timeline_to_msg,
)
from groot_ros.core import (
    ActionChunk,
    ActionGroup,
    ActionKind,
    CommittedTimeline,
    ControlSource,
    ExecutorState,
    ExecutorStatus,
    MalformedError,
    ReasonCode,
    RtcMode,
    StampedInput,
    time_to_ns,
)
from groot_ros.core.messages import chunk_from_msg, timeline_from_msg
from groot_ros.msg import ActionChunk as ActionChunkMsg
from groot_ros.msg import CommittedTimeline as CommittedTimelineMsg
from groot_ros.msg import ExecutorState as ExecutorStateMsg

STAMP = 1_700_000_000_123_456_789


@given(st.integers(0, 2**31 * 10**9 - 1))
def test_a_stamp_keeps_every_nanosecond(nanoseconds):
    assert time_to_ns(ns_to_time(nanoseconds)) == nanoseconds


def chunk(**changes) -> ActionChunk:
    values = {
        "stamp_ns": STAMP,
        "start_ns": STAMP + 5,
        "dt": 1 / 30,
        "groups": (
            ActionGroup(
                ActionKind.JOINT_POSITION,
                "arm",
                ("a", "b"),
                ("rad", "rad"),
                np.arange(8.0).reshape(4, 2),
            ),
            ActionGroup(
                ActionKind.POSE_XYZ_ROT6D,
                "tool",
                ("tip",),
                ("m",) * 3 + ("1",) * 6,
                np.full((4, 9), 0.5),
                "base",
            ),
        ),
        "session": "a session",
        "episode": 2,
        "id": 7,
        "instruction_id": 3,
        "instruction": "pick the cube",
        "rtc_mode": RtcMode.GUIDED,
        "frozen_steps": 2,
        "prefix_id": 9,
        "noise_seed": 2**63 + 5,
        "checkpoint_hash": "abc",
        "embodiment": "so101",
        "engine": "torch",
        "inputs": (StampedInput("front", STAMP), StampedInput("joint_states", STAMP - 3)),
        "stage_seconds": {"snapshot": 0.25, "head": 0.5},
    }
    return ActionChunk(**{**values, **changes})


def over_the_wire(msg):
    return deserialize_message(serialize_message(msg), type(msg))


def test_a_chunk_is_received_unchanged():
    sent = chunk()
    received = chunk_from_msg(over_the_wire(chunk_to_msg(sent)))
    for name in vars(sent):
        if name != "groups":
            assert getattr(received, name) == getattr(sent, name), name
    for ours, theirs in zip(sent.groups, received.groups, strict=True):
        for name in ("kind", "name", "names", "units", "frame_id"):
            assert getattr(theirs, name) == getattr(ours, name), name
        assert (theirs.values == ours.values).all()


@given(
    steps=st.integers(1, 6),
    joints=st.integers(1, 4),
    seed=st.integers(0, 2**64 - 1),
    dt=st.floats(1e-3, 1.0),
)
def test_a_chunk_of_any_size_is_received_unchanged(steps, joints, seed, dt):
    values = np.random.default_rng(steps).normal(size=(steps, joints))
    names = tuple(f"joint_{i}" for i in range(joints))
    group = ActionGroup(ActionKind.JOINT_POSITION, "g", names, ("rad",) * joints, values)
    received = chunk_from_msg(
        chunk_to_msg(chunk(groups=(group,), noise_seed=seed, dt=dt, frozen_steps=0))
    )
    assert (received.horizon, received.noise_seed, received.dt) == (steps, seed, dt)
    assert (received.groups[0].values == values).all()


def malformed(**changes) -> ActionChunkMsg:
    msg = chunk_to_msg(chunk())
    for name, value in changes.items():
        target = msg.groups[0] if name.startswith("group_") else msg
        setattr(target, name.removeprefix("group_"), value)
    return msg


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"horizon": 0}, "sizes_disagree"),
        ({"horizon": 5}, "sizes_disagree"),
        ({"horizon": 200_000}, "too_long"),
        ({"session": ""}, "no_session"),
        ({"session": "  "}, "no_session"),
        ({"id": 2**64 - 1}, "bad_number"),
        ({"episode": 2**32 - 1}, "bad_number"),
        ({"rtc_mode": 9}, "unknown_kind"),
        ({"dt": 0.0}, "bad_dt"),
        ({"dt": float("nan")}, "bad_dt"),
        ({"groups": []}, "no_groups"),
        ({"frozen_steps": 5}, "sizes_disagree"),
        ({"group_kind": 17}, "unknown_kind"),
        ({"group_names": ["a"]}, "sizes_disagree"),
        ({"group_names": []}, "sizes_disagree"),
        ({"group_names": ["a", "a"]}, "duplicate_name"),
        ({"group_names": ["a", ""]}, "empty_name"),
        ({"group_names": ["a", "tip"]}, "duplicate_name"),
        ({"group_name": "tool"}, "duplicate_name"),
        ({"group_units": ["rad"]}, "sizes_disagree"),
        ({"group_values": array("d", [0.0] * 7)}, "sizes_disagree"),
        ({"group_values": array("d", [0.0] * 7 + [float("inf")])}, "non_finite"),
        ({"group_values": array("d", [0.0] * 7 + [-1e300])}, "out_of_range"),
    ],
)
def test_a_malformed_chunk_is_rejected_by_reason(changes, reason):
    with pytest.raises(MalformedError) as caught:
        chunk_from_msg(malformed(**changes))
    assert caught.value.reason == reason


def timeline() -> CommittedTimeline:
    positions = np.arange(6.0).reshape(3, 2)
    return CommittedTimeline(
        STAMP, 4, "a session", 1, 7, STAMP - 10, 0.02, ("a", "b"), positions, -positions
    )


def test_a_timeline_of_the_largest_size_is_received():
    rows = np.zeros((100_000, 1))
    sent = CommittedTimeline(STAMP, 4, "s", 1, 7, STAMP, 1e-5, ("a",), rows, rows)
    assert len(timeline_from_msg(timeline_to_msg(sent)).positions) == 100_000


def test_a_timeline_is_received_unchanged():
    sent = timeline()
    received = timeline_from_msg(over_the_wire(timeline_to_msg(sent)))
    for name in ("stamp_ns", "id", "session", "episode", "chunk_id", "start_ns", "dt"):
        assert getattr(received, name) == getattr(sent, name), name
    assert received.joint_names == sent.joint_names
    assert (received.positions == sent.positions).all()
    assert (received.velocities == sent.velocities).all()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"joint_names": []}, "sizes_disagree"),
        ({"positions": array("d", [0.0] * 5)}, "sizes_disagree"),
        ({"velocities": array("d", [0.0] * 4)}, "sizes_disagree"),
        ({"joint_names": ["a", "a"]}, "duplicate_name"),
        ({"positions": array("d", [float("nan")] * 6)}, "non_finite"),
        ({"positions": array("d"), "velocities": array("d")}, "sizes_disagree"),
        ({"dt": -0.1}, "bad_dt"),
        ({"dt": 1e-12}, "bad_dt"),
        ({"dt": 1.1}, "bad_dt"),
        ({"positions": array("d", [0.0] * 5 + [1e7])}, "out_of_range"),
        ({"velocities": array("d", [-1e300] + [0.0] * 5)}, "out_of_range"),
        (
            {
                "joint_names": ["a"],
                "positions": array("d", bytes(8 * 100_001)),
                "velocities": array("d", bytes(8 * 100_001)),
            },
            "too_long",
        ),
    ],
)
def test_a_malformed_timeline_is_rejected_by_reason(changes, reason):
    msg: CommittedTimelineMsg = timeline_to_msg(timeline())
    for name, value in changes.items():
        setattr(msg, name, value)
    with pytest.raises(MalformedError) as caught:
        timeline_from_msg(msg)
    assert caught.value.reason == reason


def test_an_executor_state_is_sent_with_all_its_fields():
    state = ExecutorState(
        stamp_ns=STAMP,
        status=ExecutorStatus.HOLDING,
        reason_code=ReasonCode.NO_CHUNK,
        reason="no chunk in time",
        joint_names=("a", "b"),
        splice_discontinuity=(0.1, 0.2),
        limited_chunks=(3, 4),
        limit_deviation=(0.01, 0.02),
        latched=True,
        hold=True,
        control_source=ControlSource.HOLD,
        intervention_id=6,
        session="a session",
        chunk_id=7,
        step=2.5,
        time_until_braking=0.25,
        underruns=1,
        rejections={"too_old": 2, "other_session": 5},
    )
    msg = over_the_wire(executor_state_to_msg(state))
    assert time_to_ns(msg.header.stamp) == STAMP
    assert (msg.status, msg.reason, msg.hold, msg.shadow) == (3, "no chunk in time", True, False)
    assert (msg.reason_code, msg.latched) == (ExecutorStateMsg.REASON_NO_CHUNK, True)
    assert (msg.control_source, msg.intervention_id) == (ExecutorStateMsg.SOURCE_HOLD, 6)
    assert (list(msg.splice_discontinuity), list(msg.limited_chunks)) == ([0.1, 0.2], [3, 4])
    assert list(msg.limit_deviation) == [0.01, 0.02]
    assert (msg.session, msg.chunk_id, msg.step, msg.time_until_braking) == (
        "a session",
        7,
        2.5,
        0.25,
    )
    rejections = {r.code: r.count for r in msg.rejections}
    assert (rejections, msg.underruns) == ({"too_old": 2, "other_session": 5}, 1)
