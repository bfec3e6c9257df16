# SPDX-License-Identifier: Apache-2.0
"""Every encoding against its definition, pixel by pixel; malformed images by reason."""

import re
from array import array
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from groot_ros.core import MalformedError
from groot_ros.vision.encodings import (
    COMPRESSED,
    ENCODING_NAMES,
    ENCODINGS,
    check_encoding,
    check_image,
    find_encoding,
    image_to_rgb,
    is_colour,
)

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
    "yuy2": 2,
    "yuyv422": 2,
    "uyvy422": 2,
    "nv12": 1,
    "nv21": 1,
    "bayer_rggb8": 1,
    "bayer_bggr8": 1,
    "bayer_gbrg8": 1,
    "bayer_grbg8": 1,
    "bayer_rg8": 1,
    "bayer_bg8": 1,
    "bayer_gb8": 1,
    "bayer_gr8": 1,
}
#: Encodings that define each pixel alone; in the others a pixel depends on its neighbours.
PIXELWISE = sorted(name for name in BYTES_PER_PIXEL if not name.startswith("bayer"))


def message(encoding, width, height, *, padding=0, bigendian=False, data=None):
    step = width * BYTES_PER_PIXEL.get(encoding, 3) + padding
    if data is None:
        rows = height * 3 // 2 if encoding.startswith("nv") else height
        data = np.random.default_rng(step + height).integers(0, 256, step * rows, np.uint8)
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
    if msg.encoding.startswith("nv"):
        colour = msg.data[(msg.height + row // 2) * msg.step + column // 2 * 2 :][:2]
        return bt601(here[0], *(colour if msg.encoding == "nv12" else reversed(colour)))
    pair = line[(column // 2) * 4 : (column // 2) * 4 + 4]
    if msg.encoding in ("yuv422", "uyvy", "uyvy422"):
        u, y, v = pair[0], pair[1 + 2 * (column % 2)], pair[2]
    else:
        u, y, v = pair[1], pair[2 * (column % 2)], pair[3]
    return bt601(y, u, v)


@given(
    encoding=st.sampled_from(PIXELWISE),
    half_width=st.integers(1, 5),
    height=st.integers(1, 5),
    padding=st.integers(0, 7),
    bigendian=st.booleans(),
)
def test_every_encoding_gives_the_pixels_of_its_definition(
    encoding, half_width, height, padding, bigendian
):
    height *= 2 if encoding.startswith("nv") else 1
    msg = message(encoding, 2 * half_width, height, padding=padding, bigendian=bigendian)
    rgb = image_to_rgb(msg)
    assert rgb.dtype == np.uint8
    assert rgb.shape == (height, 2 * half_width, 3)
    assert rgb.flags.c_contiguous
    expected = [[expected_pixel(msg, r, c) for c in range(msg.width)] for r in range(height)]
    yuv = encoding.startswith(("y", "u", "nv"))
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
        ({"encoding": "nv12", "height": 1}, "odd_height"),
        ({"encoding": "nv12", "data": array("B", bytes(35))}, "data_short"),
        ({"encoding": "bayer_rggb8", "width": 3}, "odd_width"),
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


#: Position of red, green (in the rows of red) and blue in the pattern of each name.
BAYER = {
    "bayer_rggb8": "rggb",
    "bayer_bggr8": "bggr",
    "bayer_gbrg8": "gbrg",
    "bayer_grbg8": "grbg",
}


@pytest.mark.parametrize("encoding", sorted(BAYER))
def test_a_bayer_mosaic_of_one_colour_gives_that_colour_everywhere(encoding):
    colour = {"r": 200, "g": 90, "b": 30}
    tile = np.array([colour[letter] for letter in BAYER[encoding]], np.uint8).reshape(2, 2)
    rgb = image_to_rgb(message(encoding, 8, 6, data=np.tile(tile, (3, 4)).tobytes()))
    assert (rgb == [200, 90, 30]).all()


@pytest.mark.parametrize("encoding", sorted(BAYER))
def test_a_bayer_pixel_keeps_its_own_colour_and_the_others_are_means_of_neighbours(encoding):
    msg = message(encoding, 8, 6, padding=3)
    rgb = image_to_rgb(msg)
    rows = np.array(msg.data, np.uint8).reshape(6, 11)[:, :8].astype(float)
    channel = {"r": 0, "g": 1, "b": 2}
    for row in range(1, 5):
        for column in range(1, 7):
            near = rows[row - 1 : row + 2, column - 1 : column + 2]
            letters = np.array(
                [
                    [BAYER[encoding][2 * ((row + i) % 2) + (column + j) % 2] for j in (-1, 0, 1)]
                    for i in (-1, 0, 1)
                ]
            )
            for letter, at in channel.items():
                own = letters[1, 1] == letter
                expected = near[1, 1] if own else near[letters == letter].mean()
                assert rgb[row, column, at] == pytest.approx(expected, abs=0.51)


def test_nv12_and_nv21_differ_in_the_order_of_their_colours():
    data = [82] * 4 + [90, 240]
    assert image_to_rgb(message("nv12", 2, 2, data=data))[1, 1] == pytest.approx([255, 1, 0], abs=1)
    swapped = [82] * 4 + [240, 90]
    assert (
        image_to_rgb(message("nv21", 2, 2, data=swapped))
        == image_to_rgb(message("nv12", 2, 2, data=data))
    ).all()


@pytest.mark.parametrize("stated", ["rgb8", "bgr8"])
def test_opencvs_type_of_three_channels_is_what_the_contract_says(stated):
    msg = message("8UC3", 4, 2)
    check_image(msg, stated)
    check_encoding(msg, stated)
    pixel = list(msg.data[:3])
    expected = pixel if stated == "rgb8" else pixel[::-1]
    assert image_to_rgb(msg, stated)[0, 0].tolist() == expected


@pytest.mark.parametrize("stated", ["mono8", "rgba8", "nv12", "jpeg"])
def test_opencvs_type_does_not_pass_for_an_encoding_of_another_size(stated):
    with pytest.raises(MalformedError, match=r"bgr8 .OpenCV's order. or rgb8") as caught:
        check_encoding(message("8UC3", 4, 2), stated)
    assert caught.value.reason == "unknown_encoding"


@pytest.mark.parametrize(
    ("given_name", "name"),
    [
        ("yuyv", "yuv422_yuy2"),
        ("yuy2", "yuv422_yuy2"),
        ("YUYV", "yuv422_yuy2"),
        ("uyvy", "yuv422"),
        ("NV12", "nv12"),
        ("yuyv422", "yuv422_yuy2"),
        ("bayer_rg8", "bayer_rggb8"),
        ("bayer_gr8", "bayer_grbg8"),
        ("bayer_rggb8", "bayer_rggb8"),
        ("RGB8", "rgb8"),
        ("jpg", "jpeg"),
        ("mjpeg", "jpeg"),
        ("jpeg_mono8", "jpeg_mono8"),
    ],
)
def test_aliases_of_encodings_are_accepted_in_any_case(given_name, name):
    assert find_encoding(given_name) == name


@pytest.mark.parametrize(
    ("given_name", "works"),
    [
        ("8UC3", ["bgr8", "rgb8"]),
        ("8UC1", ["mono8"]),
        ("16uc1", ["mono16"]),
        ("bayer_rggb16", ["bayer_rggb8"]),
        ("bayer_gbrg12", ["bayer_gbrg8"]),
        ("bayer_rg10", ["bayer_rggb8"]),
        ("BAYER_GR12p", ["bayer_grbg8"]),
        ("bayer_", ["bayer_rggb8"]),
        ("nv24", ["nv12", "nv21", "rgb8"]),
        ("rgb16", ["rgb8"]),
        ("compressed", ["jpeg", "png"]),
        ("h264", ["jpeg"]),
        ("colour", ["rgb8", "nv12", "jpeg"]),
    ],
)
def test_the_advice_for_an_unknown_encoding_names_values_that_work(given_name, works):
    with pytest.raises(ValueError, match="which is not decoded") as caught:
        find_encoding(given_name)
    words = set(re.findall(r"\w+", str(caught.value)))
    for name in works:
        assert name in words
        assert find_encoding(name) == name


def test_every_name_of_the_table_can_be_stated():
    assert all(find_encoding(name) for name in ENCODING_NAMES)
    assert {"yuyv", "uyvy", "nv12", "bayer_rggb8", "jpg"} <= set(ENCODING_NAMES)


def test_the_colour_of_every_encoding_is_known():
    grey = {"mono8", "mono16", "jpeg_mono8", "png_mono8", "png_mono16"}
    names = [*(row.name for row in ENCODINGS), *COMPRESSED]
    assert {name for name in names if not is_colour(name)} == grey


def test_a_grey_image_where_colour_is_stated_names_both():
    with pytest.raises(MalformedError, match=r"sends mono8, .* says rgb8, which is colour"):
        check_encoding(message("mono8", 2, 2), "rgb8")
    with pytest.raises(MalformedError, match="says mono8, which is grey"):
        check_encoding(message("bgr8", 2, 2), "mono8")


def test_an_image_in_another_encoding_than_stated_is_rejected_with_both_named():
    with pytest.raises(MalformedError, match="sends bgr8, the robot contract says rgb8") as caught:
        check_encoding(message("bgr8", 2, 2), "rgb8")
    assert caught.value.reason == "wrong_encoding"
