# SPDX-License-Identifier: Apache-2.0
"""Action groups and chunks keep their invariants."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from groot_ros.core import ActionChunk, ActionGroup, ActionKind, MalformedError, RtcMode


def reason_of(make, **changes) -> str:
    with pytest.raises(MalformedError) as error:
        make(**changes)
    return error.value.reason


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"kind": 1}, "unknown_kind"),
        ({"kind": 5}, "unknown_kind"),
        ({"kind": -1}, "unknown_kind"),
        ({"names": ()}, "sizes_disagree"),
        ({"names": ("a", "a")}, "duplicate_name"),
        ({"names": ("a", "")}, "empty_name"),
        ({"names": ("a",)}, "sizes_disagree"),
        ({"units": ("rad",)}, "sizes_disagree"),
        ({"values": np.zeros(8)}, "sizes_disagree"),
        ({"values": np.zeros((4, 3))}, "sizes_disagree"),
        ({"values": np.zeros((4, 2, 1))}, "sizes_disagree"),
        ({"values": np.full((4, 2), math.nan)}, "non_finite"),
        ({"values": [[0.0, math.inf]]}, "non_finite"),
        ({"kind": ActionKind.POSE_XYZ_ROT6D}, "sizes_disagree"),
    ],
)
def test_a_malformed_group_is_rejected_with_its_reason(make_group, changes, reason):
    assert reason_of(make_group, **changes) == reason


def test_a_malformed_group_is_named(make_group):
    with pytest.raises(MalformedError, match=r"group 'arm' needs values \[horizon, 2\], not \[4\]"):
        make_group(values=np.zeros(4))


def test_a_pose_names_one_link_and_has_nine_columns(make_group):
    pose = {"kind": ActionKind.POSE_XYZ_ROT6D, "names": ("tool",)}
    group = make_group(**pose, units=("1",) * 9, values=np.zeros((4, 9)))
    assert group.width == 9
    assert reason_of(make_group, **pose, units=("1",)) == "sizes_disagree"


@pytest.mark.parametrize("kind", [ActionKind.JOINT_POSITION, ActionKind.GRIPPER])
def test_the_other_kinds_have_one_column_per_name(make_group, kind):
    assert make_group(kind=kind).width == 2


def test_a_kind_may_be_given_as_a_number(make_group):
    assert make_group(kind=2).kind is ActionKind.GRIPPER


def test_values_are_copied_and_read_only(make_group):
    mine = np.ones((4, 2))
    group = make_group(values=mine)
    mine[:] = 7
    assert group.values.max() == 1.0
    with pytest.raises(ValueError, match="read-only"):
        group.values[0, 0] = 2.0


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"dt": 0.0}, "bad_dt"),
        ({"dt": -0.1}, "bad_dt"),
        ({"dt": math.nan}, "bad_dt"),
        ({"dt": math.inf}, "bad_dt"),
        ({"groups": ()}, "no_groups"),
        ({"frozen_steps": 5}, "sizes_disagree"),
        ({"frozen_steps": -1}, "sizes_disagree"),
    ],
)
def test_a_malformed_chunk_is_rejected_with_its_reason(make_chunk, changes, reason):
    assert reason_of(make_chunk, **changes) == reason


def test_groups_that_differ_in_steps_are_rejected(make_chunk, make_group):
    other = make_group(name="hand", names=("c", "d"), values=np.zeros((5, 2)))
    with pytest.raises(MalformedError, match=r"\{'arm': 4, 'hand': 5\}") as error:
        make_chunk(groups=(make_group(), other))
    assert error.value.reason == "sizes_disagree"


def test_a_chunk_without_steps_is_rejected(make_chunk, make_group):
    empty = make_group(values=np.zeros((0, 2)))
    assert reason_of(make_chunk, groups=(empty,)) == "sizes_disagree"


def test_a_group_given_twice_is_rejected(make_chunk, make_group):
    again = make_group(names=("c", "d"))
    assert reason_of(make_chunk, groups=(make_group(), again)) == "duplicate_name"


def test_a_joint_in_two_groups_is_rejected(make_chunk, make_group):
    other = make_group(name="hand", names=("b", "c"))
    with pytest.raises(MalformedError, match=r"the chunk names \['b'\] more than once"):
        make_chunk(groups=(make_group(), other))


def test_all_steps_may_be_frozen(make_chunk):
    assert make_chunk(frozen_steps=4).frozen_steps == 4


def test_a_chunk_is_not_conditioned_by_default(make_chunk):
    chunk = make_chunk()
    assert (chunk.rtc_mode, chunk.frozen_steps, chunk.prefix_id) == (RtcMode.OFF, 0, 0)


@given(
    horizon=st.integers(1, 200),
    dt=st.floats(1e-3, 1.0),
    start_ns=st.integers(0, 2 * 10**18),
)
def test_the_last_step_is_due_horizon_minus_one_steps_after_the_start(horizon, dt, start_ns):
    group = ActionGroup(ActionKind.GRIPPER, "g", ("g",), ("rad",), np.zeros((horizon, 1)))
    chunk = ActionChunk(stamp_ns=0, start_ns=start_ns, dt=dt, groups=(group,))
    assert chunk.horizon == horizon
    assert abs(chunk.end_ns - start_ns - (horizon - 1) * dt * 1e9) <= 1
