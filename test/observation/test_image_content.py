# SPDX-License-Identifier: Apache-2.0
"""A frozen camera and missing colour are warned about, once each."""

from array import array

import numpy as np
import pytest

from groot_ros.core import s_to_ns
from groot_ros.observation.image_content import COLOURLESS_IMAGES, ImageContent

NOISE = np.random.default_rng(0).integers(0, 256, (3, 48 * 64 * 3), np.uint8)
GREY = np.repeat(NOISE[0, : 48 * 64].reshape(48, 64, 1), 3, axis=2)
COLOUR = NOISE[0].reshape(48, 64, 3)


def content(*, colour=True):
    return ImageContent("front", colour=colour)


def warnings(camera, pictures, period=0.1):
    """Return (time in s, warning) of messages with these bytes."""
    found = []
    for i, picture in enumerate(pictures):
        if text := camera.check_message(array("B", picture.tobytes()), s_to_ns(i * period)):
            found.append((i * period, text))
    return found


def test_a_camera_that_repeats_one_picture_for_five_seconds_is_reported_once():
    found = warnings(content(), [NOISE[0]] * 200)
    assert [at for at, _ in found] == [pytest.approx(5.0)]
    assert found[0][1].startswith("camera 'front' has sent the same picture for 5 s")


def test_noise_of_a_sensor_is_enough_not_to_be_frozen():
    pictures = [NOISE[0].copy() for _ in range(200)]
    for i, picture in enumerate(pictures):
        # Half of the bytes change by one level, as with any sensor.
        picture[i % 2 :: 2] ^= 1
    assert not warnings(content(), pictures)


def test_a_camera_that_freezes_again_is_reported_again():
    pictures = [NOISE[0]] * 60 + [NOISE[1]] * 60
    assert [round(at) for at, _ in warnings(content(), pictures)] == [5, 11]


def test_a_compressed_picture_of_another_length_is_another_picture():
    pictures = [NOISE[0][: 5000 + i % 2] for i in range(200)]
    assert not warnings(content(), pictures)


def test_a_clock_that_goes_back_restarts_the_measurement():
    camera = content()
    data = array("B", NOISE[0].tobytes())
    times = [100.0, 104.0, 0.0, 4.0, 4.9]
    assert not any(camera.check_message(data, s_to_ns(at)) for at in times)


def test_pictures_without_the_promised_colour_are_reported_once():
    camera = content()
    found = [camera.check_pixels(GREY) for _ in range(20)]
    assert [bool(text) for text in found] == [i == COLOURLESS_IMAGES - 1 for i in range(20)]
    assert "camera 'front' sends grey pictures" in found[COLOURLESS_IMAGES - 1]


def test_a_single_grey_picture_is_no_reason_for_a_warning():
    camera = content()
    pictures = [GREY, GREY, COLOUR] * 10
    assert not any(camera.check_pixels(picture) for picture in pictures)


def test_a_camera_whose_contract_says_grey_may_send_grey():
    camera = content(colour=False)
    assert not any(camera.check_pixels(GREY) for _ in range(20))
