# SPDX-License-Identifier: Apache-2.0
"""Shift between two pictures: sign, sub-pixels, light, an arm in between, and no false number."""

import math

import numpy as np
import pytest
from PIL import Image

from groot_ros.core import MalformedError
from groot_ros.vision.camera_shift import count_blocks, measure_shift

SIZE = (320, 240)


def scene(dx=0.0, dy=0.0, *, rotation=0.0, zoom=1.0, light=1.0, arm=None, seed=0):
    """A wall of boxes whose picture is moved by (dx, dy), then turned clockwise; uint8 RGB."""
    rng = np.random.default_rng(3)
    wall = np.full((480, 640), 110.0)
    for _ in range(250):
        x, y, w, h = (int(v) for v in rng.integers((0, 0, 10, 10), (620, 460, 60, 60)))
        wall[y : y + h, x : x + w] = rng.uniform(40, 200)
    c, s = math.cos(rotation) / zoom, math.sin(rotation) / zoom
    # Input of each output pixel, about the middles of both pictures.
    x, y = (SIZE[0] - 1) / 2 + dx, (SIZE[1] - 1) / 2 + dy
    matrix = (c, s, 319.5 - c * x - s * y, -s, c, 239.5 + s * x - c * y)
    image = Image.fromarray(wall.astype(np.float32))
    grey = np.array(image.transform(SIZE, Image.Transform.AFFINE, matrix, Image.Resampling.BICUBIC))
    if arm is not None:
        left, top = arm
        grey[top : top + 130, left : left + 90] = 25.0
        grey[top + 20 : top + 110 : 12, left + 15 : left + 75] = 230.0
    noise = np.random.default_rng(seed).normal(0.0, 2.0, grey.shape)
    return np.repeat(np.clip(light * grey + noise, 0, 255).astype(np.uint8)[..., None], 3, axis=2)


@pytest.mark.parametrize(
    ("dx", "dy"), [(0.0, 0.0), (8.0, 0.0), (0.0, -8.0), (-5.5, 3.25), (31.0, -22.0)]
)
def test_the_shift_is_how_far_the_contents_moved_right_and_down(dx, dy):
    found = measure_shift(scene(), scene(dx, dy, seed=1))
    assert found.reason == ""
    assert (found.dx, found.dy) == pytest.approx((dx, dy), abs=0.3)
    assert found.corner < 1.0


@pytest.mark.parametrize("light", [0.8, 1.2])
def test_an_arm_in_another_pose_and_other_light_do_not_change_the_shift(light):
    reference = scene(arm=(20, 60))
    found = measure_shift(reference, scene(6.0, 4.0, light=light, arm=(150, 100), seed=1))
    assert (found.dx, found.dy) == pytest.approx((6.0, 4.0), abs=0.6)
    # The blocks that the arm hides do not count.
    assert found.agreeing < found.blocks


@pytest.mark.parametrize("degrees", [1.0, -6.0])
def test_a_turn_about_the_optical_axis_is_told_from_a_shift(degrees):
    found = measure_shift(scene(), scene(rotation=math.radians(degrees), seed=1))
    assert math.degrees(found.rotation) == pytest.approx(degrees, abs=0.2)
    assert found.length < 0.5
    assert found.corner == pytest.approx(200 * math.radians(abs(degrees)), rel=0.15)


@pytest.mark.parametrize("zoom", [1.015, 0.95])
def test_a_zoom_is_told_from_a_shift(zoom):
    found = measure_shift(scene(), scene(zoom=zoom, seed=1))
    assert found.zoom == pytest.approx(zoom - 1, abs=0.003)
    assert found.length < 0.5


def test_a_shift_is_in_pixels_of_large_pictures_as_well():
    def large(picture):
        return np.asarray(Image.fromarray(picture).resize((1280, 960), Image.Resampling.BICUBIC))

    found = measure_shift(large(scene()), large(scene(3.0, -2.0, seed=1)))
    assert (found.dx, found.dy) == pytest.approx((12.0, -8.0), abs=0.8)


def plain():
    return np.full((240, 320, 3), 128, np.uint8)


def edges():
    picture = plain()
    picture[:, 100:] = 60
    picture[:, 220:] = 200
    return picture


def other_scene():
    return scene()[::-1, ::-1]


@pytest.mark.parametrize(
    ("reference", "picture", "reason"),
    [
        (plain(), plain(), "have edges"),
        (edges(), edges(), "one direction only"),
        (scene(), plain(), "is the camera covered?"),
        (scene(), other_scene(), "agree"),
        (np.zeros((100, 100, 3), np.uint8), np.zeros((100, 100, 3), np.uint8), "too few"),
    ],
    ids=["plain", "vertical edges", "covered", "another scene", "small"],
)
def test_pictures_that_cannot_tell_give_a_reason_and_no_number(reference, picture, reason):
    found = measure_shift(reference, picture)
    assert reason in found.reason
    assert math.isnan(found.dx)
    assert math.isnan(found.length)


def test_pictures_of_different_sizes_are_rejected():
    with pytest.raises(MalformedError, match="320 x 240 pixels, the reference 640 x 480"):
        measure_shift(np.zeros((480, 640, 3), np.uint8), scene())


def test_blocks_with_edges_are_counted():
    assert count_blocks(plain()) == 0
    assert count_blocks(scene()) >= 20
