# SPDX-License-Identifier: Apache-2.0
"""The image pipeline: sizes from a camera frame to image tokens, and rejected frames."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from groot_ros.core.config_reader import CheckpointError
from groot_ros.families.gr00t_n1d6.image_pipeline import (
    ImagePipeline,
    smallest_side_size,
    token_grid_size,
)
from groot_ros.families.gr00t_n1d6.processor_config import ProcessorConfig


@pytest.mark.parametrize(
    ("size", "seen", "tokens"),
    [
        ((480, 640), (252, 336), 108),
        ((256, 256), (252, 252), 81),
        ((360, 640), (252, 448), 144),
        ((640, 480), (336, 252), 108),
    ],
)
def test_common_camera_sizes_give_the_sizes_of_the_reference(size, seen, tokens) -> None:
    pipeline = ImagePipeline(256, 0.95)
    image = pipeline(np.zeros((*size, 3), dtype=np.uint8))
    assert image.shape == (3, *seen)
    assert pipeline.tokens(image) == tokens


def test_sides_are_rounded_half_to_even() -> None:
    assert smallest_side_size(480, 640, 256) == (256, 341)
    assert smallest_side_size(100, 125, 2) == (2, 2)
    assert smallest_side_size(256, 300, 256) == (256, 300)


@given(h=st.integers(10, 3000), w=st.integers(10, 3000))
def test_every_size_becomes_whole_cells_in_the_allowed_number(h: int, w: int) -> None:
    if max(h, w) / min(h, w) > 200:
        with pytest.raises(ValueError, match="200 times"):
            token_grid_size(h, w, 28)
        return
    rows, columns = token_grid_size(h, w, 28)
    assert rows % 28 == 0
    assert columns % 28 == 0
    assert 4 <= rows * columns // 784 <= 4096


def test_another_crop_position_gives_other_pixels_of_the_same_size() -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (60, 80, 3), dtype=np.uint8)
    pipeline = ImagePipeline(56, 0.8)
    corner, centre = pipeline(image, (0.0, 0.0)), pipeline(image)
    assert corner.shape == centre.shape
    assert not np.array_equal(corner, centre)
    assert np.array_equal(centre, pipeline(image, (0.5, 0.5)))


def test_missing_edge_and_crop_are_derived_from_the_older_keys() -> None:
    config = ProcessorConfig(
        {},
        shortest_image_edge=None,
        crop_fraction=None,
        image_crop_size=(230, 230),
        image_target_size=(256, 256),
    )
    assert ImagePipeline.of(config) == ImagePipeline(256, 230 / 256)


@pytest.mark.parametrize("key", ["shortest_image_edge", "crop_fraction"])
def test_a_config_with_neither_old_nor_new_keys_is_rejected(key: str) -> None:
    config = ProcessorConfig({}, **{key: None})
    with pytest.raises(CheckpointError, match=f"'{key}'"):
        ImagePipeline.of(config)


@pytest.mark.parametrize("fraction", [0.0, -0.5, 1.01, float("nan")])
def test_a_crop_fraction_outside_zero_to_one_is_rejected(fraction: float) -> None:
    with pytest.raises(CheckpointError, match=r"'crop_fraction' .* above 0 and at most 1"):
        ImagePipeline.of(ProcessorConfig({}, crop_fraction=fraction))


@pytest.mark.parametrize("size", [(1, 2000), (100_000, 2)])
def test_a_very_narrow_frame_is_rejected_before_it_is_enlarged(size) -> None:
    pipeline = ImagePipeline(256, 0.95)
    frame = np.zeros((*size, 3), dtype=np.uint8)
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="more than 200 times as long as wide"):
            pipeline(frame)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("size", "sizes"),
    [((1, 640), "1 x 640 becomes 256 x "), ((2000, 10), "2000 x 10 becomes ")],
)
def test_the_error_about_a_narrow_frame_gives_its_original_size(size, sizes: str) -> None:
    with pytest.raises(ValueError, match=f"^a frame of {sizes}.*, more than 200 times as long"):
        ImagePipeline(256, 0.95)(np.zeros((*size, 3), dtype=np.uint8))
