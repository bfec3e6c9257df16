# SPDX-License-Identifier: Apache-2.0
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.control_bench import ARM, EPOCH_NS, JOINTS, chunk, contract, sway_chunk

from groot_ros.control import ExecutorConfig
from groot_ros.control.chunk_validation import ChunkValidator
from groot_ros.core import ActionGroup, ActionKind, s_to_ns

SETTINGS = ExecutorConfig()


@pytest.fixture
def validator():
    return ChunkValidator(contract(), JOINTS)


def check(validator, chunk, at=0.1):
    rejection = validator.check(chunk, EPOCH_NS + s_to_ns(at), SETTINGS)
    if rejection is None:
        validator.accept(chunk)
    return rejection and rejection.reason


def group(kind=ActionKind.JOINT_POSITION, names=("extra",), units=("rad",), width=1):
    return ActionGroup(kind, "other", names, units, np.zeros((16, width)))


def test_a_valid_chunk_is_accepted(validator):
    assert check(validator, sway_chunk(0.0, id=1)) is None


def test_chunks_must_arrive_in_order(validator):
    check(validator, sway_chunk(0.0, id=2))
    assert check(validator, sway_chunk(0.0, id=2)) == "out_of_order"
    assert check(validator, sway_chunk(0.0, id=1)) == "out_of_order"
    assert check(validator, sway_chunk(0.0, id=3)) is None


def test_a_new_episode_restarts_the_ids_and_ends_the_old_one(validator):
    check(validator, sway_chunk(0.0, id=9))
    assert check(validator, sway_chunk(0.0, id=0, episode=1)) is None
    assert check(validator, sway_chunk(0.0, id=10)) == "old_episode"


def test_chunks_of_a_second_policy_are_rejected(validator):
    check(validator, sway_chunk(0.0, id=1))
    rejection = validator.check(sway_chunk(0.1, id=1, session="b"), EPOCH_NS + 2 * 10**8, SETTINGS)
    assert rejection.reason == "second_policy"
    assert "session b" in rejection.detail
    assert check(validator, sway_chunk(0.1, id=2), at=0.2) is None


def test_a_restarted_policy_is_accepted_once_the_old_session_is_silent(validator):
    check(validator, sway_chunk(0.0, id=7, episode=3), at=0.1)
    assert check(validator, sway_chunk(0.9, id=0, session="b"), at=1.0) == "second_policy"
    assert check(validator, sway_chunk(1.1, id=0, session="b"), at=1.2) is None
    assert check(validator, sway_chunk(1.2, id=8, episode=3), at=1.3) == "second_policy"


def test_rejected_chunks_keep_their_session_live(validator):
    check(validator, sway_chunk(0.0, id=1), at=0.1)
    assert check(validator, sway_chunk(0.0, id=1), at=1.0) == "out_of_order"
    assert check(validator, sway_chunk(1.4, id=1, session="b"), at=1.5) == "second_policy"


@pytest.mark.parametrize(
    ("seen_at", "now", "reason"),
    [(0.2, 0.1, "future_stamp"), (0.14, 0.1, None), (0.0, 0.99, None), (0.0, 1.01, "too_old")],
)
def test_chunks_must_be_observed_in_the_recent_past(validator, seen_at, now, reason):
    assert check(validator, sway_chunk(seen_at), at=now) == reason


def test_a_chunk_observed_before_a_stop_does_not_restart_motion(validator):
    validator.reject_observed_until(EPOCH_NS + s_to_ns(0.5))
    assert check(validator, sway_chunk(0.5), at=0.6) == "before_stop"
    assert check(validator, sway_chunk(0.51, id=1), at=0.6) is None


def test_an_ended_instruction_stays_ended_until_another_one_is_given(validator):
    check(validator, sway_chunk(0.0, id=1, instruction_id=4))
    validator.end_instruction()
    ended = sway_chunk(0.1, id=2, instruction_id=4)
    assert check(validator, ended, at=0.2) == "instruction_ended"
    assert check(validator, sway_chunk(0.1, id=3, instruction_id=5), at=0.2) is None


def test_the_same_instruction_may_be_given_again(validator):
    check(validator, sway_chunk(0.0, id=1, instruction_id=4))
    validator.end_instruction()
    validator.restore_instruction()
    assert check(validator, sway_chunk(0.1, id=2, instruction_id=4), at=0.2) is None


def test_a_dt_out_of_range_is_rejected(validator):
    assert check(validator, sway_chunk(0.0, dt=1e-6)) == "bad_dt"
    assert check(validator, sway_chunk(0.0, dt=33.3)) == "bad_dt"


def test_a_chunk_needs_two_steps_and_a_start_before_its_maximum_age(validator):
    assert check(validator, sway_chunk(0.0, steps=1)) == "horizon_too_short"
    late = sway_chunk(0.0, start_ns=EPOCH_NS + s_to_ns(2.0))
    assert check(validator, late) == "start_too_late"


@pytest.mark.parametrize(
    ("extra", "reason"),
    [
        (group(), "unknown_joint"),
        (group(names=(ARM[0],), units=("deg",)), "wrong_unit"),
        (group(ActionKind.POSE_XYZ_ROT6D, ("hand",), ("m",) * 9, 9), "unsupported_kind"),
    ],
)
def test_groups_that_the_executor_cannot_execute_are_rejected(validator, extra, reason):
    gripper_only = (sway_chunk(0.0).groups[0],)
    assert check(validator, replace(sway_chunk(0.0), groups=(*gripper_only, extra))) == reason


def test_every_actuated_joint_must_be_commanded(validator):
    lone = replace(sway_chunk(0.0), groups=sway_chunk(0.0).groups[:1])
    rejection = validator.check(lone, EPOCH_NS, SETTINGS)
    assert rejection.reason == "missing_joint"
    assert all(joint in rejection.detail for joint in ARM)


def test_a_reset_accepts_any_session_and_time_again(validator):
    check(validator, sway_chunk(0.0, id=5, episode=2))
    validator.reject_observed_until(EPOCH_NS + s_to_ns(5.0))
    validator.reset()
    assert check(validator, sway_chunk(0.0, id=0, session="b")) is None


@pytest.mark.parametrize(("value", "reason"), [(100.0, "out_of_range"), (-4.6, "out_of_range")])
def test_values_outside_the_limits_by_more_than_the_range_are_rejected(validator, value, reason):
    """Limiting such a value would move the joint to its end stop at full speed."""
    values = np.zeros((16, 4))
    values[14, 1] = value
    rejection = validator.check(chunk(values, 0.0), EPOCH_NS, ExecutorConfig())
    assert rejection.reason == reason
    assert (
        f"'{ARM[1]}' is commanded to {value:g} rad in step 14, its limits are -1.5 to 1.5"
        in str(rejection)
    )


@given(st.floats(-4.5, 4.5))
def test_values_outside_the_limits_by_less_than_the_range_are_accepted(value):
    values = np.zeros((16, 4))
    values[3, 2] = value
    fresh = ChunkValidator(contract(), JOINTS)
    assert fresh.check(chunk(values, 0.0), EPOCH_NS, ExecutorConfig()) is None


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda played: replace(played, stamp_ns=played.stamp_ns - s_to_ns(3600.0)), "too_old"),
        (lambda played: replace(played, stamp_ns=played.stamp_ns + s_to_ns(60.0)), "future_stamp"),
        (lambda played: replace(played, dt=5.0), "bad_dt"),
        (lambda played: replace(played, groups=played.groups[:1]), "missing_joint"),
    ],
)
def test_a_chunk_that_cannot_be_executed_does_not_make_its_session_the_live_one(
    validator, change, reason
):
    """The old chunks of a bag that is played must not keep the policy out."""
    played = change(sway_chunk(0.0, id=5, session="of a bag"))
    assert check(validator, played) == reason
    assert validator.live_session is None
    assert check(validator, sway_chunk(0.0, id=1)) is None
    assert validator.live_session == "a"
    assert check(validator, replace(played, id=6), at=0.15) == "second_policy"
    assert validator.live_session == "a"


def test_old_chunks_of_another_session_do_not_prolong_the_live_one(validator):
    check(validator, sway_chunk(0.0, id=1), at=0.1)
    old = sway_chunk(-3600.0, id=1, session="of a bag")
    assert check(validator, old, at=1.0) == "second_policy"
    assert check(validator, sway_chunk(1.1, id=1, session="b"), at=1.2) is None


def test_late_chunks_of_the_live_session_keep_it_live(validator):
    check(validator, sway_chunk(0.0, id=1), at=0.1)
    assert check(validator, sway_chunk(-10.0, id=2), at=1.0) == "too_old"
    assert check(validator, sway_chunk(1.1, id=1, session="b"), at=1.2) == "second_policy"


@pytest.mark.parametrize(
    ("first", "second"),
    [({"id": 5}, {"id": 4}), ({"id": 5}, {"id": 2_000_000}), ({"episode": 3}, {"episode": 2})],
    ids=["older", "far ahead", "earlier episode"],
)
def test_a_rejection_for_the_order_names_the_way_out(validator, first, second):
    accepted = sway_chunk(0.0, **first)
    assert validator.check(accepted, EPOCH_NS, ExecutorConfig()) is None
    validator.accept(accepted)
    rejection = validator.check(sway_chunk(0.0, **second), EPOCH_NS, ExecutorConfig())
    assert rejection.reason in ("out_of_order", "old_episode")
    assert "call ~/reset of the executor (groot-ros reset)" in rejection.detail


def test_the_instruction_that_is_followed_is_known_from_chunks_and_stops(validator):
    assert validator.instruction == (0, "")
    validator.set_instruction("")
    assert validator.instruction == (0, "")
    chunk = sway_chunk(0.0, id=1, instruction="touch red", instruction_id=3)
    validator.check(chunk, EPOCH_NS, ExecutorConfig())
    validator.accept(chunk)
    assert validator.instruction == (3, "touch red")
    validator.set_instruction("\u200b")
    assert validator.instruction == (3, "")
    validator.set_instruction("touch blue", 4)
    assert validator.instruction == (4, "touch blue")
    validator.end_session("a")
    validator.check(sway_chunk(0.0, session="b"), EPOCH_NS, ExecutorConfig())
    assert validator.instruction == (0, "")
