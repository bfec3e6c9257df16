# SPDX-License-Identifier: Apache-2.0
"""Records of the executor keep their invariants."""

import math

import numpy as np
import pytest

from groot_ros.core import ExecutorState, ExecutorStatus, MalformedError, ReasonCode


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"dt": 0.0}, "bad_dt"),
        ({"dt": math.nan}, "bad_dt"),
        ({"joint_names": ("a", "a")}, "duplicate_name"),
        ({"joint_names": ("a", "")}, "empty_name"),
        ({"joint_names": ("a",)}, "sizes_disagree"),
        ({"positions": np.zeros((4, 2))}, "sizes_disagree"),
        ({"velocities": np.zeros((5, 3))}, "sizes_disagree"),
        ({"positions": np.zeros(10), "velocities": np.zeros(10)}, "sizes_disagree"),
        ({"positions": np.zeros((0, 2)), "velocities": np.zeros((0, 2))}, "sizes_disagree"),
        ({"positions": np.full((5, 2), math.nan)}, "non_finite"),
        ({"velocities": np.full((5, 2), -math.inf)}, "non_finite"),
    ],
)
def test_a_malformed_timeline_is_rejected_with_its_reason(make_timeline, changes, reason):
    with pytest.raises(MalformedError) as error:
        make_timeline(**changes)
    assert error.value.reason == reason


def test_a_timeline_without_joints_is_rejected(make_timeline):
    nothing = np.zeros((5, 0))
    with pytest.raises(MalformedError, match="names no joints"):
        make_timeline(joint_names=(), positions=nothing, velocities=nothing)


def test_the_last_row_of_a_timeline_is_rows_minus_one_steps_after_the_start(make_timeline):
    assert make_timeline().end_ns == 1_000 + 40_000_000


def test_the_arrays_of_a_timeline_are_copied_and_read_only(make_timeline):
    mine = np.zeros((5, 2))
    timeline = make_timeline(positions=mine)
    mine[:] = 1
    assert timeline.positions.max() == 0.0
    with pytest.raises(ValueError, match="read-only"):
        timeline.velocities[0, 0] = 1.0


def make_state(**changes) -> ExecutorState:
    fields = {
        "stamp_ns": 1,
        "status": ExecutorStatus.RUNNING,
        "reason_code": ReasonCode.EXECUTING,
        "reason": "",
        "joint_names": ("a", "b"),
        "splice_discontinuity": (0.0, 0.1),
        "limited_chunks": (0, 3),
    }
    return ExecutorState(**{**fields, **changes})


def test_a_state_with_one_value_for_each_joint_is_accepted():
    assert make_state().limited_chunks == (0, 3)


@pytest.mark.parametrize(
    "changes",
    [{"splice_discontinuity": (0.0,)}, {"limited_chunks": (0, 1, 2)}, {"joint_names": ("a",)}],
)
def test_a_state_whose_values_do_not_match_its_joints_is_rejected(changes):
    with pytest.raises(MalformedError) as error:
        make_state(**changes)
    assert error.value.reason == "sizes_disagree"
