# SPDX-License-Identifier: Apache-2.0
"""Verdict of a camera check: status, the correction as text, degrees, cameras on the arm."""

import dataclasses

import numpy as np
import pytest

from groot_ros.vision import camera_check
from groot_ros.vision.camera_check import CameraStatus, check_camera, overlay
from groot_ros.vision.camera_reference import CameraReference, Intrinsics
from groot_ros.vision.camera_shift import Shift

PICTURE = np.zeros((480, 640, 3), np.uint8)
SAVED = CameraReference("front", PICTURE, {"lift": 0.5, "pan": 0.0}, 0, "rgb8", "/front/image_raw")
LENS = Intrinsics(600.0, 500.0, 640)


@pytest.fixture
def check(monkeypatch):
    """Return a function that checks a camera for which this shift is measured."""

    def run(shift, reference=SAVED, picture=PICTURE, limit=4.0, joints=None, carried=()):
        monkeypatch.setattr(camera_check, "measure_shift", lambda *_: shift)
        return check_camera(reference, picture, limit, joints or {}, carried)

    return run


def test_a_shift_within_the_limit_is_ok(check):
    result = check(Shift(2.4, -3.1))
    assert result.status is CameraStatus.OK
    assert result.text == "front: within 4.0 px of the reference (3.9 px)"


@pytest.mark.parametrize(
    ("shift", "words"),
    [
        (Shift(8.0, 0.2), "turn the camera 8.0 px to the right"),
        (Shift(-8.0, 0.0), "turn the camera 8.0 px to the left"),
        (Shift(0.0, 7.5), "turn the camera 7.5 px down"),
        (Shift(3.0, -7.5), "turn the camera 3.0 px to the right and 7.5 px up"),
    ],
)
def test_the_camera_is_turned_after_the_contents_of_its_picture(check, shift, words):
    result = check(shift)
    assert result.status is CameraStatus.MOVED
    assert result.text.endswith(words)
    assert result.degrees is None


def test_degrees_are_told_only_with_camera_info(check):
    result = check(Shift(8.0, -9.0), dataclasses.replace(SAVED, intrinsics=LENS))
    assert result.degrees == pytest.approx((0.7639, -1.0312), abs=1e-3)
    assert "8.0 px (0.76°) to the right and 9.0 px (1.03°) up" in result.text


def test_the_focal_length_follows_the_size_of_the_picture(check):
    half = dataclasses.replace(SAVED, intrinsics=Intrinsics(1200.0, 1000.0, 1280))
    assert check(Shift(8.0, 0.0), half).degrees[0] == pytest.approx(0.7639, abs=1e-3)


def test_a_rotation_is_no_pure_shift(check):
    result = check(Shift(0.1, 0.0, rotation=0.035, corner=14.0))
    assert result.status is CameraStatus.MOVED
    assert "not by a pure shift (corners by 14 px more)" in result.text
    assert result.text.endswith("turn the camera 2.0° clockwise")


def test_a_zoom_is_no_pure_shift(check):
    result = check(Shift(0.1, 0.0, zoom=-0.03, corner=12.0))
    assert result.status is CameraStatus.MOVED
    assert "everything 3.0 % smaller" in result.text


def test_the_perspective_of_a_large_turn_is_a_shift(check):
    assert "pure" not in check(Shift(80.0, 0.0, zoom=0.02, corner=8.0)).text


def test_a_picture_that_fits_too_little_gives_the_reason_and_no_number(check):
    result = check(Shift(reason="only 3 of 90 parts of the picture agree about a shift"))
    assert result.status is CameraStatus.UNCLEAR
    assert result.text.startswith("front: cannot tell whether the camera moved: only 3 of 90")
    assert np.isnan(result.shift.dx)


def test_a_fixed_camera_that_may_be_on_the_arm_is_told_the_key(check):
    shift = Shift(reason="too little")
    assert "mount" not in check(shift, joints={"lift": 0.5, "pan": 0.0}).text
    assert "state 'mount: arm'" in check(shift, joints={"lift": 0.9, "pan": 0.0}).text


def test_a_camera_on_the_arm_is_compared_only_in_the_saved_pose(check):
    def run(lift):
        now = {"lift": lift, "pan": 0.0}
        return check(Shift(9.0, 0.0), joints=now, carried=("lift", "pan"))

    assert run(0.5).status is CameraStatus.MOVED
    away = run(0.6)
    assert away.status is CameraStatus.NOT_COMPARED
    assert "'lift' is 0.100 from the saved pose" in away.text
    # 0.01 rad of the arm explain 6.4 px of a lens of 640 px.
    near = run(0.51)
    assert near.limit == pytest.approx(10.4)
    assert near.status is CameraStatus.OK


def test_a_camera_on_the_arm_is_not_compared_without_joint_states(check):
    result = check(Shift(0.0, 0.0), joints={"lift": 0.5}, carried=("lift", "pan"))
    assert result.status is CameraStatus.NOT_COMPARED
    assert "joint 'pan' is not received" in result.text


def test_a_fixed_camera_does_not_depend_on_the_pose(check):
    assert check(Shift(1.0, 0.0), joints={"lift": 3.0}).status is CameraStatus.OK


def test_another_resolution_is_not_compared():
    result = check_camera(SAVED, PICTURE[::2, ::2], 4.0, {})
    assert result.status is CameraStatus.NOT_COMPARED
    assert "320 x 240 pixels, the reference 640 x 480" in result.text


def test_the_overlay_shows_the_reference_red_and_the_present_cyan(check):
    before, now = PICTURE.copy(), PICTURE.copy()
    before[10:20, 10:20] = 255
    now[10:20, 40:50] = 255
    result = check(Shift(30.0, 0.0))
    drawn = overlay(before, now, result)
    assert drawn.shape == (498, 640, 3)
    assert drawn[15, 15].tolist() == [255, 0, 0]
    assert drawn[15, 45].tolist() == [0, 255, 255]
    # The arrow begins in the middle and points to the right.
    assert drawn[240, 330].tolist() == [255, 255, 0]
    assert drawn[240, 310].tolist() == [0, 0, 0]
