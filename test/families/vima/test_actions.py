# SPDX-License-Identifier: Apache-2.0
"""Bins of actions, and the poses that they stand for."""

import math

import pytest
import torch

from groot_ros.families.vima.actions import TableBounds, from_bins, pick_place, to_bins
from groot_ros.families.vima.config import PARTS, PUBLIC

BINS = PUBLIC["2M"].bins


def parts(position: tuple[float, ...], rotation: tuple[float, ...]) -> dict[str, torch.Tensor]:
    """Return the same position and rotation for both poses."""
    return {
        part: torch.tensor(position if part.endswith("position") else rotation) for part in PARTS
    }


def test_public_actions_have_50_bins_along_x_100_along_y_and_50_per_rotation() -> None:
    assert BINS == {
        "pose0_position": (50, 100),
        "pose0_rotation": (50, 50, 50, 50),
        "pose1_position": (50, 100),
        "pose1_rotation": (50, 50, 50, 50),
    }


def test_zero_is_the_first_bin_and_one_the_last() -> None:
    found = to_bins(parts((0.0, 1.0), (0.0, 1.0, 0.5, 0.25)), BINS)
    assert found["pose0_position"].tolist() == [0, 99]
    assert found["pose1_rotation"].tolist() == [0, 49, 25, 13]


def test_a_bin_stands_for_its_number_divided_by_the_number_of_bins() -> None:
    values = from_bins(parts((49, 50), (0, 25, 49, 1)), BINS)
    assert values["pose0_position"].tolist() == pytest.approx([0.98, 0.5])
    assert values["pose0_rotation"].tolist() == pytest.approx([0.0, 0.5, 0.98, 0.02])


def test_poses_are_in_the_metres_of_the_table_with_unit_quaternions() -> None:
    action = pick_place(parts((25, 25), (25, 25, 50, 25)), BINS)
    assert (action.pick.x, action.pick.y) == pytest.approx((0.5, -0.25))
    assert action.pick.rotation == pytest.approx((0.0, 0.0, 1.0, 0.0))
    assert action.place == action.pick
    assert action.bins["pose1_position"] == (25, 25)
    turned = pick_place(parts((0, 0), (25, 25, 40, 40)), BINS)
    assert turned.pick.rotation == pytest.approx((0.0, 0.0, math.sqrt(0.5), math.sqrt(0.5)))
    assert (turned.pick.x, turned.pick.y) == (0.25, -0.5)


def test_other_bounds_move_the_poses_to_another_table() -> None:
    bounds = TableBounds(low=(0.1, 0.0), high=(0.3, 0.2))
    action = pick_place(parts((25, 50), (25, 25, 25, 49)), BINS, bounds)
    assert (action.pick.x, action.pick.y) == pytest.approx((0.2, 0.1))


def test_a_rotation_of_length_zero_is_rejected() -> None:
    with pytest.raises(ValueError, match=r"pose0_rotation: the bins \[25, 25, 25, 25\]"):
        pick_place(parts((0, 0), (25, 25, 25, 25)), BINS)
