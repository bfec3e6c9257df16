# SPDX-License-Identifier: Apache-2.0
"""Compressed images: decoded exactly where the format is, and rejected by reason."""

import io
from array import array
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image as PillowImage

from groot_ros.core import MalformedError
from groot_ros.vision.compressed import check_compression, compressed_to_rgb


def encoded(pixels, kind, text=None, **options):
    target = io.BytesIO()
    PillowImage.fromarray(pixels).save(target, kind, **options)
    return SimpleNamespace(format=text or kind, data=array("B", target.getvalue()))


SMOOTH = np.dstack([np.add.outer(np.arange(16) * 5, np.arange(24) * k) for k in (1, 3, 5)]).astype(
    np.uint8
)


def test_png_is_exact_in_colour_and_grey_and_alpha_is_dropped():
    assert (compressed_to_rgb(encoded(SMOOTH, "png")) == SMOOTH).all()
    grey = SMOOTH[..., 0]
    assert (compressed_to_rgb(encoded(grey, "png")) == grey[..., None]).all()
    alpha = np.dstack([SMOOTH, np.full_like(grey, 7)])
    assert (compressed_to_rgb(encoded(alpha, "png")) == SMOOTH).all()


def test_a_palette_png_gives_the_colours_of_its_palette():
    colours = np.array([[10, 20, 30], [200, 100, 50]], np.uint8)
    image = PillowImage.new("P", (2, 1))
    image.putpalette(colours.tobytes())
    image.putdata([1, 0])
    target = io.BytesIO()
    image.save(target, "png")
    msg = SimpleNamespace(format="png", data=array("B", target.getvalue()))
    assert (compressed_to_rgb(msg)[0] == colours[::-1]).all()


def test_a_16_bit_png_is_scaled_like_mono16():
    words = np.linspace(0, 65535, 16 * 24).astype(np.uint16).reshape(16, 24)
    rgb = compressed_to_rgb(encoded(words, "png", text="16UC1; png compressed"))
    np.testing.assert_allclose(rgb, np.dstack([words * (255 / 65535)] * 3), atol=0.5)


def test_jpeg_colours_are_close_and_grey_is_grey():
    rgb = compressed_to_rgb(encoded(SMOOTH, "jpeg", quality=95, subsampling=0))
    assert np.abs(rgb.astype(int) - SMOOTH).max() <= 8
    grey = compressed_to_rgb(encoded(SMOOTH[..., 1], "jpeg", quality=95))
    assert (grey[..., 0] == grey[..., 2]).all()


def test_an_image_transport_jpeg_that_was_not_swapped_before_encoding_is_swapped_back():
    swapped = encoded(SMOOTH[..., ::-1], "png", text="rgb8; png compressed rgb8")
    assert (compressed_to_rgb(swapped) == SMOOTH).all()
    usual = encoded(SMOOTH, "png", text="rgb8; png compressed bgr8")
    assert (compressed_to_rgb(usual) == SMOOTH).all()


def test_damaged_compressed_images_are_rejected_by_reason():
    good = encoded(SMOOTH, "png")
    cases = {
        "empty_image": array("B"),
        "unknown_encoding": array("B", b"GIF89a" + bytes(20)),
        "undecodable_image": good.data[: len(good.data) // 2],
    }
    for reason, data in cases.items():
        with pytest.raises(MalformedError) as caught:
            compressed_to_rgb(SimpleNamespace(format="png", data=data))
        assert caught.value.reason == reason


def test_a_small_png_that_claims_to_be_enormous_is_not_decoded():
    target = io.BytesIO()
    PillowImage.new("1", (12_000, 6_000)).save(target, "png")
    with pytest.raises(MalformedError, match="image_too_large: 12000 x 6000"):
        compressed_to_rgb(SimpleNamespace(format="png", data=array("B", target.getvalue())))


def test_the_compression_is_detected_by_the_first_bytes():
    msg = encoded(SMOOTH, "png")
    check_compression(msg, "png")
    with pytest.raises(MalformedError, match="sends png, the robot contract says jpeg"):
        check_compression(msg, "jpeg")
    check_compression(encoded(SMOOTH, "jpeg"), "jpeg")
