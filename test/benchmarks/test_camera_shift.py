# SPDX-License-Identifier: Apache-2.0
"""The short form of `python -m benchmarks camera_shift`: real scenes, another pose, other light."""

import pytest

from benchmarks.camera_shift import SHIFT, SMALL_SHIFTS, TOLERANCE, scenes
from groot_ros.vision.camera_check import CameraStatus

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("robot", "camera", "turned"),
    [
        ("so101", "front", True),
        ("so101", "front", False),
        ("ur5e_robotiq", "front", True),
        ("bimanual", "head", True),
    ],
)
def test_a_shift_of_8_px_is_found_behind_a_moving_arm(robot, camera, turned):
    for scene in scenes(robot, camera, 1, (SHIFT, SHIFT), turned=turned):
        result = scene.result()
        assert result.status is CameraStatus.MOVED, result.text
        assert scene.error(result) < TOLERANCE


@pytest.mark.parametrize("robot", ["so101", "ur5e_robotiq"])
def test_a_shift_below_2_px_is_not_reported(robot):
    for scene in scenes(robot, "front", 1, SMALL_SHIFTS, turned=True):
        assert scene.result().status is CameraStatus.OK


def test_a_camera_on_the_arm_in_another_pose_gives_no_number():
    for scene in scenes("so101", "wrist", 1, (SHIFT, SHIFT), turned=True):
        result = scene.result()
        assert result.status is CameraStatus.UNCLEAR, result.text


def test_a_camera_turned_to_the_right_is_to_be_turned_to_the_left():
    for scene in scenes("so101", "front", 2, (SHIFT, SHIFT), turned=True):
        # What a camera shows moves against its own turn.
        text = scene.result().text
        assert ("to the left" in text) == (scene.shift[0] < -2)
        assert (" up" in text) == (scene.shift[1] < -2)
