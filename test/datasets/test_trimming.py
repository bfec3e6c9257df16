# SPDX-License-Identifier: Apache-2.0
"""Rest at the ends of episodes, for any motion."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.robot_bags import SO101

from groot_ros.bags.recording import RobotBag
from groot_ros.datasets.rows import EpisodeRows, RowSettings, grid_offsets
from groot_ros.datasets.trimming import trim_idle

HORIZON = 8
#: Speeds of the first joint, deg per row; 1 deg is 0.017 rad.
MOTIONS = st.lists(st.sampled_from([0.0, 0.0, 0.0, 0.1, 1.0, -2.0]), min_size=1, max_size=80)


@pytest.fixture(scope="module")
def bag(made) -> RobotBag:
    return RobotBag(made.bags[1], SO101).read()


def rows_of(speeds: list[float]) -> EpisodeRows:
    angles = np.zeros((len(speeds), 6))
    angles[:, 0] = np.cumsum(speeds)
    return EpisodeRows(
        times_ns=10**9 + np.arange(len(speeds)) * 33_333_333,
        instruction="touch the red cube",
        images={"front": np.arange(len(speeds))},
        state=angles,
        action=angles,
        intervention=np.zeros(len(speeds), dtype=bool),
    )


@given(speeds=MOTIONS)
@settings(deadline=None)
def test_trimming_twice_changes_nothing_and_keeps_all_motion(bag, speeds: list[float]) -> None:
    rows = rows_of(speeds)
    options = RowSettings(fps=30, horizon=HORIZON)
    once = trim_idle(rows, bag, options, [])
    twice = trim_idle(once, bag, options, [])
    assert twice.times_ns.tolist() == once.times_ns.tolist()
    # What was left out moves at most as slowly as noise.
    first = int(once.images["front"][0])
    last = int(once.images["front"][-1])
    left_out = [*speeds[1 : first + 1], *speeds[last + 1 :]]
    assert max(np.abs(left_out), default=0.0) <= 0.1


@given(rest=st.integers(0, 40))
@settings(deadline=None)
def test_at_least_the_rows_of_a_horizon_rest_at_the_end(bag, rest: int) -> None:
    rows = rows_of([1.0] * 20 + [0.0] * rest)
    kept = trim_idle(rows, bag, RowSettings(fps=30, horizon=HORIZON), [])
    resting = int((kept.action[:, 0] == kept.action[-1, 0]).sum()) - 1
    assert min(rest, HORIZON) <= resting <= min(rest, HORIZON + 5)


def test_what_was_trimmed_is_noted_with_its_place(bag: RobotBag, tmp_path: Path) -> None:
    notes: list[str] = []
    trim_idle(rows_of([0.0] * 30 + [1.0] * 20 + [0.0] * 30), bag, RowSettings(30, horizon=8), notes)
    (note,) = notes
    assert "left out 25 rows of rest at the start and 18 at the end" in note


@given(
    first=st.integers(0, 200), count=st.integers(1, 200), fps=st.sampled_from([10, 15, 24, 30, 50])
)
def test_the_grid_of_an_episode_is_within_a_nanosecond_of_that_of_its_bag(
    first: int, count: int, fps: int
) -> None:
    whole = grid_offsets(first + count, fps)[first:]
    assert np.abs(whole - whole[0] - grid_offsets(count, fps)).max() <= 1
