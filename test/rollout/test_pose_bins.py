# SPDX-License-Identifier: Apache-2.0
"""Bins of poses: the nearest ones, and decoded as the family decodes them."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from groot_ros.families.vima.actions import TableBounds, pick_place
from groot_ros.rollout.pose_bins import BINS, from_bins, to_bins, tool_pose, yaw_of
from groot_ros.sim.prompt_scene import table_area

X, Y = st.floats(0.25, 0.74), st.floats(-0.5, 0.49)
PLACES = st.tuples(X, Y, st.floats(-np.pi, np.pi))


@settings(deadline=None, max_examples=50)
@given(PLACES, PLACES)
def test_poses_come_back_within_half_a_bin(pick, place):
    bins = to_bins(pick, place)
    for before, after in zip((pick, place), from_bins(bins), strict=True):
        assert abs(after[0] - before[0]) < 0.00501
        assert abs(after[1] - before[1]) < 0.00501
        turned = (after[2] - before[2] + np.pi) % (2 * np.pi) - np.pi
        assert abs(turned) < np.deg2rad(3.5)


@settings(deadline=None, max_examples=50)
@given(PLACES, PLACES)
def test_the_family_decodes_the_same_poses(pick, place):
    bins = to_bins(pick, place)
    area = table_area()
    bounds = TableBounds((area.x[0], area.y[0]), (area.x[1], area.y[1]))
    tensors = {part: torch.from_numpy(values) for part, values in bins.items()}
    decoded = pick_place(tensors, BINS, bounds)
    for pose, expected in zip((decoded.pick, decoded.place), from_bins(bins), strict=True):
        assert (pose.x, pose.y) == pytest.approx(expected[:2], abs=1e-6)
        assert yaw_of(np.array(pose.rotation)) == pytest.approx(expected[2], abs=1e-5)


def test_poses_beyond_the_table_get_its_outermost_bins():
    bins = to_bins((0.0, -2.0, 0.0), (2.0, 2.0, 0.0))
    assert bins["pose0_position"].tolist() == [0, 0]
    assert bins["pose1_position"].tolist() == [49, 99]


def test_no_rotation_is_the_middle_of_the_bins_and_the_last_one():
    assert to_bins((0.5, 0.0, 0.0), (0.5, 0.0, 0.0))["pose0_rotation"].tolist() == [25, 25, 25, 49]


@settings(deadline=None, max_examples=50)
@given(st.floats(-np.pi, np.pi))
def test_the_yaw_of_a_tool_that_points_down_is_its_turn(yaw):
    turned = yaw_of(np.array(tool_pose((0.5, 0.0, yaw), 0.03).rotation))
    assert np.cos(turned - yaw) == pytest.approx(1.0, abs=1e-9)
