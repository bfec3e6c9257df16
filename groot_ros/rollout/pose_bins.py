# SPDX-License-Identifier: Apache-2.0
"""Bins of VIMA's actions, from and to poses (x, y, yaw) on the table.

A bin stands for bin / number of bins, on a scale of 0 to 1 over the table or over -1 to 1 of a
quaternion's component. Poses are written as the nearest bins. VIMA-Bench rounds up on a scale of
one bin less, which doubles the largest error.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from groot_ros.core import ToolPose
from groot_ros.sim.prompt_scene import table_area
from groot_ros.sim.table import Place

#: Part of an action -> number of bins of each coordinate: x, y, or a quaternion x, y, z, w.
BINS: Mapping[str, tuple[int, ...]] = {
    "pose0_position": (50, 100),
    "pose0_rotation": (50, 50, 50, 50),
    "pose1_position": (50, 100),
    "pose1_rotation": (50, 50, 50, 50),
}


def to_bins(pick: Place, place: Place) -> dict[str, NDArray[np.int64]]:
    """Return part of the action -> bins, [2] or [4]."""
    low, size = _area()
    values = {}
    for name, (x, y, yaw) in (("pose0", pick), ("pose1", place)):
        # One of the two quaternions of a rotation: w is not negative.
        half = ((yaw + np.pi) % (2 * np.pi) - np.pi) / 2
        values[f"{name}_position"] = (np.array([x, y]) - low) / size
        values[f"{name}_rotation"] = (np.array([0.0, 0.0, np.sin(half), np.cos(half)]) + 1) / 2
    return {
        part: np.clip(np.rint(values[part] * bins), 0, np.array(bins) - 1).astype(np.int64)
        for part, bins in BINS.items()
    }


def from_bins(bins: Mapping[str, NDArray[np.int64]]) -> tuple[Place, Place]:
    """Return pick and place; the inverse of `to_bins` up to half a bin."""
    low, size = _area()
    poses = []
    for name in ("pose0", "pose1"):
        part = f"{name}_position"
        x, y = low + bins[part] / np.array(BINS[part]) * size
        poses.append((float(x), float(y), yaw_of(bins[f"{name}_rotation"] / 25.0 - 1.0)))
    return poses[0], poses[1]


def tool_pose(place: Place, height: float) -> ToolPose:
    """Return the pose of a tool that points down, at a height over the table, m."""
    x, y, yaw = place
    return ToolPose((x, y, height), (0.0, 0.0, float(np.sin(yaw / 2)), float(np.cos(yaw / 2))))


def yaw_of(rotation: NDArray[np.float64]) -> float:
    """Return the angle about the vertical of a quaternion x, y, z, w, rad."""
    x, y, z, w = rotation / np.linalg.norm(rotation)
    return float(np.arctan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z)))


def _area() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the corner of the table with the smallest x and y, and the size of the table, m."""
    table = table_area()
    low, high = np.transpose([table.x, table.y])
    return low, high - low
