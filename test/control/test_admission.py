from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.control_bench import ARM, EPOCH_NS, JOINTS, chunk, contract, sway_chunk

from groot_ros.control import ExecutorConfig
from groot_ros.control.admission import Admission
from groot_ros.core import ActionGroup, ActionKind, s_to_ns

SETTINGS = ExecutorConfig()


@pytest.fixture
def admission():
    return Admission(contract(), JOINTS)


def judge(admission, chunk, at=0.1):
    rejection = admission.judge(chunk, EPOCH_NS + s_to_ns(at), SETTINGS)
    if rejection is None:
        admission.accept(chunk)
    return rejection and rejection.reason


def group(kind=ActionKind.JOINT_POSITION, names=("extra",), units=("rad",), width=1):
    return ActionGroup(kind, "other", names, units, np.zeros((16, width)))


def test_a_good_chunk_is_admitted(admission):
    assert judge(admission, sway_chunk(0.0, id=1)) is None


def test_chunks_must_come_in_order(admission):
    judge(admission, sway_chunk(0.0, id=2))
    assert judge(admission, sway_chunk(0.0, id=2)) == "out_of_order"
    assert judge(admission, sway_chunk(0.0, id=1)) == "out_of_order"
    assert judge(admission, sway_chunk(0.0, id=3)) is None


def test_a_new_episode_counts_from_the_beginning_and_kills_the_old_one(admission):
    judge(admission, sway_chunk(0.0, id=9))
    assert judge(admission, sway_chunk(0.0, id=0, episode=1)) is None
    assert judge(admission, sway_chunk(0.0, id=10)) == "old_episode"


def test_two_policies_at_once_are_rejected_as_such(admission):
    judge(admission, sway_chunk(0.0, id=1))
    rejection = admission.judge(sway_chunk(0.1, id=1, session="b"), EPOCH_NS + 2 * 10**8, SETTINGS)
    assert rejection.reason == "second_policy"
    assert "session b" in rejection.detail
    assert judge(admission, sway_chunk(0.1, id=2), at=0.2) is None


def test_a_restarted_policy_is_admitted_once_the_old_one_has_gone_silent(admission):
    judge(admission, sway_chunk(0.0, id=7, episode=3), at=0.1)
    assert judge(admission, sway_chunk(0.9, id=0, session="b"), at=1.0) == "second_policy"
    assert judge(admission, sway_chunk(1.1, id=0, session="b"), at=1.2) is None
    assert judge(admission, sway_chunk(1.2, id=8, episode=3), at=1.3) == "second_policy"


def test_a_session_whose_chunks_are_rejected_is_live_all_the_same(admission):
    judge(admission, sway_chunk(0.0, id=1), at=0.1)
    assert judge(admission, sway_chunk(0.0, id=1), at=1.0) == "out_of_order"
    assert judge(admission, sway_chunk(1.4, id=1, session="b"), at=1.5) == "second_policy"


@pytest.mark.parametrize(
    ("seen_at", "now", "reason"),
    [(0.2, 0.1, "future_stamp"), (0.14, 0.1, None), (0.0, 0.99, None), (0.0, 1.01, "too_old")],
)
def test_chunks_must_be_of_the_recent_past(admission, seen_at, now, reason):
    assert judge(admission, sway_chunk(seen_at), at=now) == reason


def test_what_was_seen_before_a_stop_does_not_restart_motion(admission):
    admission.only_after(EPOCH_NS + s_to_ns(0.5))
    assert judge(admission, sway_chunk(0.5), at=0.6) == "before_stop"
    assert judge(admission, sway_chunk(0.51, id=1), at=0.6) is None


def test_an_ended_instruction_stays_ended_until_another_one_comes(admission):
    judge(admission, sway_chunk(0.0, id=1, instruction_id=4))
    admission.end_instruction()
    ended = sway_chunk(0.1, id=2, instruction_id=4)
    assert judge(admission, ended, at=0.2) == "instruction_ended"
    assert judge(admission, sway_chunk(0.1, id=3, instruction_id=5), at=0.2) is None


def test_the_same_instruction_may_be_given_again(admission):
    judge(admission, sway_chunk(0.0, id=1, instruction_id=4))
    admission.end_instruction()
    admission.begin_instruction()
    assert judge(admission, sway_chunk(0.1, id=2, instruction_id=4), at=0.2) is None


def test_steps_of_absurd_length_are_rejected(admission):
    assert judge(admission, sway_chunk(0.0, dt=1e-6)) == "bad_dt"
    assert judge(admission, sway_chunk(0.0, dt=33.3)) == "bad_dt"


def test_a_chunk_needs_two_steps_and_a_start_in_reach(admission):
    assert judge(admission, sway_chunk(0.0, steps=1)) == "too_short"
    late = sway_chunk(0.0, start_ns=EPOCH_NS + s_to_ns(2.0))
    assert judge(admission, late) == "future_start"


@pytest.mark.parametrize(
    ("extra", "reason"),
    [
        (group(), "unknown_joint"),
        (group(names=(ARM[0],), units=("deg",)), "wrong_unit"),
        (group(ActionKind.POSE_XYZ_ROT6D, ("hand",), ("m",) * 9, 9), "unsupported_kind"),
    ],
)
def test_every_group_must_be_one_that_the_executor_can_drive(admission, extra, reason):
    gripper_only = (sway_chunk(0.0).groups[0],)
    assert judge(admission, replace(sway_chunk(0.0), groups=(*gripper_only, extra))) == reason


def test_every_driven_joint_must_be_commanded(admission):
    lone = replace(sway_chunk(0.0), groups=sway_chunk(0.0).groups[:1])
    rejection = admission.judge(lone, EPOCH_NS, SETTINGS)
    assert rejection.reason == "missing_joint"
    assert all(joint in rejection.detail for joint in ARM)


def test_after_a_jump_of_the_clock_everything_is_forgotten(admission):
    judge(admission, sway_chunk(0.0, id=5, episode=2))
    admission.only_after(EPOCH_NS + s_to_ns(5.0))
    admission.forget()
    assert judge(admission, sway_chunk(0.0, id=0, session="b")) is None


@pytest.mark.parametrize(("value", "reason"), [(100.0, "out_of_range"), (-4.6, "out_of_range")])
def test_what_lies_beyond_the_limits_by_more_than_the_range_is_no_plan(admission, value, reason):
    """The limits would hold, and bring the joint to its end at full speed."""
    values = np.zeros((16, 4))
    values[14, 1] = value
    rejection = admission.judge(chunk(values, 0.0), EPOCH_NS, ExecutorConfig())
    assert rejection.reason == reason
    assert f"'{ARM[1]}' is sent to {value:g} rad in step 14, its limits are -1.5 to 1.5" in str(
        rejection
    )


@given(st.floats(-4.5, 4.5))
def test_what_lies_less_far_beyond_is_left_to_the_limits(value):
    values = np.zeros((16, 4))
    values[3, 2] = value
    fresh = Admission(contract(), JOINTS)
    assert fresh.judge(chunk(values, 0.0), EPOCH_NS, ExecutorConfig()) is None
