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


def with_exif(msg, size):
    """Return the jpeg with a segment of metadata before its header, as cameras write it."""
    segment = b"\xff\xe1" + (size + 2).to_bytes(2, "big") + bytes(size)
    data = bytes(msg.data[:2]) + segment + bytes(msg.data[2:])
    return SimpleNamespace(format="jpeg", data=array("B", data))


GREY = {
    "jpeg_mono8": encoded(SMOOTH[..., 1], "jpeg"),
    "png_mono8": encoded(SMOOTH[..., 1], "png"),
    "png_mono16": encoded(SMOOTH[..., 1].astype(np.uint16) * 257, "png"),
}


@pytest.mark.parametrize("name", sorted(GREY))
def test_a_grey_file_is_refused_where_the_contract_says_colour_and_accepted_where_it_says_grey(
    name,
):
    stated = name.partition("_")[0]
    with pytest.raises(MalformedError) as caught:
        check_compression(GREY[name], stated)
    assert caught.value.reason == "wrong_encoding"
    assert caught.value.detail == (
        f"sends {name}, the robot contract says {stated}, which is colour, but the images are "
        f"grey: correct the driver, or set 'encoding: {name}' in the contract"
    )
    check_compression(GREY[name], name)
    assert compressed_to_rgb(GREY[name]).shape == (16, 24, 3)


def test_a_grey_png_with_alpha_is_grey_and_a_palette_is_colour():
    target = io.BytesIO()
    PillowImage.new("LA", (4, 4)).save(target, "png")
    check_compression(SimpleNamespace(format="png", data=target.getvalue()), "png_mono8")
    target = io.BytesIO()
    PillowImage.new("P", (4, 4)).save(target, "png")
    check_compression(SimpleNamespace(format="png", data=target.getvalue()), "png")


def test_a_colour_jpeg_where_the_contract_says_grey_is_refused():
    with pytest.raises(MalformedError, match="which is grey, but the images are colour"):
        check_compression(encoded(SMOOTH, "jpeg"), "jpeg_mono8")


@pytest.mark.parametrize("size", [10, 60_000])
@pytest.mark.parametrize("progressive", [False, True])
def test_the_colour_of_a_jpeg_is_found_behind_its_metadata(size, progressive):
    grey = encoded(SMOOTH[..., 1], "jpeg", progressive=progressive)
    check_compression(with_exif(grey, size), "jpeg_mono8")
    # Readers of bags give numpy arrays.
    as_numpy = SimpleNamespace(format="jpeg", data=np.array(with_exif(grey, size).data))
    check_compression(as_numpy, "jpeg_mono8")
    check_compression(with_exif(encoded(SMOOTH, "jpeg", progressive=progressive), size), "jpeg")


@pytest.mark.parametrize("length", [1, 3, 5, 20, 27])
@pytest.mark.parametrize("kind", ["jpeg", "png"])
def test_a_file_that_ends_in_its_header_is_rejected_when_it_is_decoded(kind, length):
    full = encoded(SMOOTH, kind)
    cut = SimpleNamespace(format=kind, data=full.data[:length])
    with pytest.raises(MalformedError):
        compressed_to_rgb(cut)
