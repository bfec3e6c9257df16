# SPDX-License-Identifier: Apache-2.0
"""Every encoding against its definition, pixel by pixel; malformed images by reason."""

from array import array
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from groot_ros.core import MalformedError
from groot_ros.vision.encodings import ENCODINGS, check_encoding, check_image, image_to_rgb

BYTES_PER_PIXEL = {
    "rgb8": 3,
    "bgr8": 3,
    "rgba8": 4,
    "bgra8": 4,
    "mono8": 1,
    "mono16": 2,
    "yuv422": 2,
    "uyvy": 2,
    "yuv422_yuy2": 2,
    "yuyv": 2,
}


def message(encoding, width, height, *, padding=0, bigendian=False, data=None):
    step = width * BYTES_PER_PIXEL.get(encoding, 3) + padding
    if data is None:
        data = np.random.default_rng(step + height).integers(0, 256, step * height, np.uint8)
    return SimpleNamespace(
        encoding=encoding,
        width=width,
        height=height,
        step=step,
        is_bigendian=int(bigendian),
        data=array("B", bytes(data)),
    )


def test_the_table_has_exactly_the_tested_encodings():
    assert {name for row in ENCODINGS for name in (row.name, *row.aliases)} == set(BYTES_PER_PIXEL)


def bt601(y, u, v):
    luma = 1.164383 * max(y - 16, 0)
    exact = (
        luma + 1.596027 * (v - 128),
        luma - 0.391762 * (u - 128) - 0.812968 * (v - 128),
        luma + 2.017232 * (u - 128),
    )
    return [min(max(level, 0), 255) for level in exact]


def expected_pixel(msg, row, column):
    """One pixel as float RGB, straight from the definition of the encoding."""
    line = msg.data[row * msg.step :]
    width = BYTES_PER_PIXEL[msg.encoding]
    here = list(line[column * width : column * width + width])
    if msg.encoding in ("rgb8", "rgba8"):
        return here[:3]
    if msg.encoding in ("bgr8", "bgra8"):
        return here[2::-1]
    if msg.encoding == "mono8":
        return here * 3
    if msg.encoding == "mono16":
        high, low = here if msg.is_bigendian else here[::-1]
        return [(256 * high + low) * 255 / 65535] * 3
    pair = line[(column // 2) * 4 : (column // 2) * 4 + 4]
    if msg.encoding in ("yuv422", "uyvy"):
        u, y, v = pair[0], pair[1 + 2 * (column % 2)], pair[2]
    else:
        u, y, v = pair[1], pair[2 * (column % 2)], pair[3]
    return bt601(y, u, v)


@given(
    encoding=st.sampled_from(sorted(BYTES_PER_PIXEL)),
    half_width=st.integers(1, 5),
    height=st.integers(1, 5),
    padding=st.integers(0, 7),
    bigendian=st.booleans(),
)
def test_every_encoding_gives_the_pixels_of_its_definition(
    encoding, half_width, height, padding, bigendian
):
    msg = message(encoding, 2 * half_width, height, padding=padding, bigendian=bigendian)
    rgb = image_to_rgb(msg)
    assert rgb.dtype == np.uint8
    assert rgb.shape == (height, 2 * half_width, 3)
    assert rgb.flags.c_contiguous
    expected = [[expected_pixel(msg, r, c) for c in range(msg.width)] for r in range(height)]
    yuv = encoding.startswith(("y", "u"))
    np.testing.assert_allclose(rgb, expected, atol=1.0 if yuv else 0.5)


def test_an_odd_width_works_where_colour_is_not_shared():
    msg = message("bgr8", 3, 2, padding=1)
    assert image_to_rgb(msg)[1, 2].tolist() == [msg.data[18], msg.data[17], msg.data[16]]


def test_a_packed_rgb_image_is_the_message_memory_and_cannot_be_written():
    msg = message("rgb8", 4, 2)
    rgb = image_to_rgb(msg)
    msg.data[0] ^= 255
    assert rgb[0, 0, 0] == msg.data[0]
    assert not rgb.flags.writeable


def test_yuv_black_white_and_a_primary_come_out_as_such():
    for (y, u, v), rgb in {
        (16, 128, 128): [0, 0, 0],
        (235, 128, 128): [255, 255, 255],
        (82, 90, 240): [255, 1, 0],
    }.items():
        assert image_to_rgb(message("yuv422", 2, 1, data=[u, y, v, y]))[0, 1] == pytest.approx(
            rgb, abs=1
        )


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"encoding": "16UC1"}, "unknown_encoding"),
        ({"width": 0}, "empty_image"),
        ({"height": 0}, "empty_image"),
        ({"step": 11}, "step_too_small"),
        ({"data": array("B", bytes(23))}, "data_short"),
        ({"encoding": "yuv422", "width": 3}, "odd_width"),
    ],
)
def test_a_malformed_image_is_rejected_by_reason(change, reason):
    msg = message("rgb8", 4, 2)
    check_image(msg)
    for name, value in change.items():
        setattr(msg, name, value)
    for reject in (check_image, image_to_rgb):
        with pytest.raises(MalformedError) as caught:
            reject(msg)
        assert caught.value.reason == reason


def test_cv_bridge_agrees_where_it_is_installed_with_its_compiled_half():
    # `import cv_bridge` succeeds without its compiled half, and then converts nothing.
    pytest.importorskip("cv_bridge.boost.cv_bridge_boost", reason="cv_bridge is not installed")
    cv_bridge = pytest.importorskip("cv_bridge")
    messages = pytest.importorskip("sensor_msgs.msg")
    for encoding in ("rgb8", "bgr8", "rgba8", "bgra8", "mono8", "mono16", "yuv422"):
        ours = message(encoding, 8, 4)
        msg = messages.Image(**vars(ours))
        theirs = cv_bridge.CvBridge().imgmsg_to_cv2(msg, "rgb8")
        np.testing.assert_allclose(image_to_rgb(msg), theirs, atol=1)


@pytest.mark.parametrize(("sent", "stated"), [("rgb8", "rgb8"), ("yuyv", "yuv422_yuy2")])
def test_an_image_in_the_stated_encoding_passes(sent, stated):
    check_encoding(message(sent, 2, 2), stated)


def test_an_image_in_another_encoding_than_stated_is_rejected_with_both_named():
    with pytest.raises(MalformedError, match="sends bgr8, the robot contract says rgb8") as caught:
        check_encoding(message("bgr8", 2, 2), "rgb8")
    assert caught.value.reason == "wrong_encoding"
