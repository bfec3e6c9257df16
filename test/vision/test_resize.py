# SPDX-License-Identifier: Apache-2.0
"""Regressions pinned: resampling equals the originals bit for bit, whatever order BLAS sums in."""

import importlib.util
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import PIL
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from groot_ros.families.gr00t_n1d6.image_pipeline import ImagePipeline
from groot_ros.vision.resize import resize_area, resize_bicubic, to_planar

REFERENCE = (
    Path(__file__).resolve().parents[3] / "shared" / "golden" / "n1d6_processor" / "resize_ref.py"
)

sides = st.integers(4, 90)
seeds = st.integers(0, 2**32 - 1)


def picture(h: int, w: int, seed: int) -> np.ndarray:
    """Noise, two-level noise or ramps: the last two are full of ties between grey levels."""
    rng = np.random.default_rng(seed)
    if seed % 3 == 0:
        return rng.integers(0, 2, (h, w, 3), dtype=np.uint8) * 255
    if seed % 3 == 1:
        ramp = np.add.outer(np.arange(h) * rng.integers(1, 9), np.arange(w)) % 256
        return np.stack([ramp, ramp[::-1], 255 - ramp], axis=-1).astype(np.uint8)
    return rng.integers(0, 256, (h, w, 3), dtype=np.uint8)


def area_in_order(plane: np.ndarray, height: int, width: int) -> np.ndarray:
    """One plane by the definition, in float32 and in OpenCV's order, pixel by pixel."""

    def shares(d: int, source: int, target: int) -> list[tuple[int, np.float32]]:
        scale = 1.0 / (target / source)
        left, right = d * scale, d * scale + scale
        cell = min(scale, source - left)
        last = min(int(np.floor(right)), source - 1)
        first = min(int(np.ceil(left)), last)
        found = [(s, np.float32(1.0 / cell)) for s in range(first, last)]
        if first - left > 1e-3:
            found.insert(0, (first - 1, np.float32((first - left) / cell)))
        if right - last > 1e-3:
            found.append((last, np.float32(min(min(right - last, 1.0), cell) / cell)))
        return found

    h, w = plane.shape
    out = np.zeros((height, width), dtype=np.uint8)
    for y in range(height):
        for x in range(width):
            total = np.float32(0)
            for sy, wy in shares(y, h, height):
                line = np.float32(0)
                for sx, wx in shares(x, w, width):
                    line += np.float32(plane[sy, sx]) * wx
                total += line * wy
            out[y, x] = np.clip(np.rint(total), 0, 255)
    return out


def pillow(image: np.ndarray, height: int, width: int) -> np.ndarray:
    return to_planar(np.asarray(Image.fromarray(image).resize((width, height))))


@settings(deadline=None, max_examples=40)
@given(h=sides, w=sides, target=sides, seed=seeds)
def test_bicubic_along_either_axis_equals_pillow(h, w, target, seed) -> None:
    image = picture(h, w, seed)
    planar = to_planar(image)
    np.testing.assert_array_equal(resize_bicubic(planar, target, w), pillow(image, target, w))
    np.testing.assert_array_equal(resize_bicubic(planar, h, target), pillow(image, h, target))


def columns_first(planar: np.ndarray, height: int, width: int) -> np.ndarray:
    return resize_bicubic(resize_bicubic(planar, planar.shape[1], width).copy(), height, width)


@settings(deadline=None, max_examples=60)
@given(h=sides, w=sides, height=sides, width=sides, seed=seeds)
def test_bicubic_orders_its_passes_as_the_installed_pillow_does(h, w, height, width, seed) -> None:
    image = picture(h, w, seed)
    orders_as_13 = int(PIL.__version__.split(".")[0]) >= 13
    resize = resize_bicubic if orders_as_13 else columns_first
    ours = resize(to_planar(image), height, width)
    np.testing.assert_array_equal(ours, pillow(image, height, width))


@settings(deadline=None, max_examples=60)
@given(h=sides, w=sides, dropped=st.integers(1, 12), slack=st.integers(-1, 1), seed=seeds)
def test_bicubic_orders_its_passes_as_pillow_at_the_boundary_of_its_rule(
    h, w, dropped, slack, seed
) -> None:
    image = picture(h, w, seed)
    height, width = max(1, h - dropped), max(1, w - dropped // 2 + slack)
    resize = resize_bicubic if int(PIL.__version__.split(".")[0]) >= 13 else columns_first
    ours = resize(to_planar(image), height, width)
    np.testing.assert_array_equal(ours, pillow(image, height, width))


@settings(deadline=None, max_examples=25)
@given(h=st.integers(8, 40), w=st.integers(8, 40), fraction=st.floats(0.15, 0.97), seed=seeds)
def test_shrinking_equals_the_definition_summed_in_order(h, w, fraction, seed) -> None:
    height, width = max(1, int(h * fraction)), max(1, int(w * fraction))
    if h % height == 0 and w % width == 0:
        return
    image = to_planar(picture(h, w, seed))
    ours = resize_area(image, height, width)
    theirs = np.stack([area_in_order(plane, height, width) for plane in image])
    np.testing.assert_array_equal(ours, theirs)


@settings(deadline=None, max_examples=25)
@given(h=sides, w=sides, seed=seeds)
def test_a_window_equals_its_part_of_the_whole_target(h, w, seed) -> None:
    image = to_planar(picture(h, w, seed))
    for height, width in (
        (max(2, h * 2 // 3), max(2, w * 2 // 3)),
        (h * 3 // 2, w * 3 // 2),
        (h, w),
    ):
        window = (height // 3, width // 4, height // 2, width // 2)
        top, left, rows, columns = window
        whole = resize_area(image, height, width).copy()
        part = resize_area(image, height, width, window)
        np.testing.assert_array_equal(part, whole[:, top : top + rows, left : left + columns])


def test_whole_ratios_are_rounded_box_means() -> None:
    image = np.zeros((3, 4, 4), dtype=np.uint8)
    image[0] = [[1, 2, 0, 0], [2, 2, 0, 1], [0] * 4, [0] * 4]
    halved = resize_area(image, 2, 2)
    assert halved[0, 0].tolist() == [(7 + 2) // 4, (1 + 2) // 4]
    assert resize_area(image, 1, 1)[0, 0, 0] == np.rint(8 / 16)


def test_enlarging_repeats_a_constant_and_has_the_requested_size() -> None:
    image = np.full((3, 10, 7), 77, dtype=np.uint8)
    enlarged = resize_area(image, 13, 9)
    assert enlarged.shape == (3, 13, 9)
    assert (enlarged == 77).all()


def test_resize_and_crop_equal_the_reference_images() -> None:
    stored = np.load(Path(__file__).parents[1] / "data" / "resize" / "eval_transform.npz")
    cases = {name.partition(".")[0] for name in stored}
    assert len(cases) == 8
    for case in cases:
        image, expected, edge, crop = (
            stored[f"{case}.{key}"] for key in ("image", "expected", "edge", "crop")
        )
        ours = ImagePipeline(int(edge), float(crop)).transform(image).transpose(1, 2, 0)
        np.testing.assert_array_equal(ours, expected)


@pytest.mark.parametrize("seed", range(8))
def test_the_crop_equals_the_reference_restated_in_plain_numpy(seed: int) -> None:
    if not REFERENCE.exists():
        pytest.skip(f"needs {REFERENCE}")
    spec = importlib.util.spec_from_file_location("resize_ref", REFERENCE)
    reference = importlib.util.module_from_spec(spec)
    sys.modules["resize_ref"] = reference
    spec.loader.exec_module(reference)
    rng = np.random.default_rng(seed)
    h, w = rng.integers(40, 500, 2).tolist()
    edge, crop = int(rng.choice([56, 112, 224])), float(rng.choice([0.8, 0.95, 1.0]))
    image = picture(h, w, seed)
    ours = ImagePipeline(edge, crop).transform(image).transpose(1, 2, 0)
    np.testing.assert_array_equal(ours, reference.eval_transform(image, edge, crop))


def test_threads_do_not_overwrite_each_others_results() -> None:
    images = [picture(48, 64, seed) for seed in (2, 5)]
    pipeline = ImagePipeline(28, 0.9)
    alone = [pipeline(image) for image in images]
    with ThreadPoolExecutor(2) as pool:
        together = list(pool.map(pipeline, images * 50))
    for number, found in enumerate(together):
        np.testing.assert_array_equal(found, alone[number % 2])


def test_the_pipelines_images_are_never_overwritten() -> None:
    pipeline = ImagePipeline(56, 1.0)
    for size in ((56, 56), (60, 80), (112, 112), (28, 40)):
        first, second = picture(*size, 2), picture(*size, 5)
        seen = pipeline(first)
        before = seen.copy()
        assert not np.array_equal(before, pipeline(second))
        np.testing.assert_array_equal(seen, before)
        assert not np.shares_memory(seen, first)
