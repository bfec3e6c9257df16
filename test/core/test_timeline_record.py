import math

import numpy as np
import pytest

from groot_ros.core import MalformedError


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


def test_a_timeline_of_no_joints_is_rejected(make_timeline):
    nothing = np.zeros((5, 0))
    with pytest.raises(MalformedError, match="names no joints"):
        make_timeline(joint_names=(), positions=nothing, velocities=nothing)


def test_its_last_row_is_rows_minus_one_steps_after_the_start(make_timeline):
    assert make_timeline().end_ns == 1_000 + 40_000_000


def test_its_arrays_are_its_own_and_read_only(make_timeline):
    mine = np.zeros((5, 2))
    timeline = make_timeline(positions=mine)
    mine[:] = 1
    assert timeline.positions.max() == 0.0
    with pytest.raises(ValueError, match="read-only"):
        timeline.velocities[0, 0] = 1.0
