# SPDX-License-Identifier: Apache-2.0
"""Objects are cut out of pictures by their labels, and what is ambiguous is rejected."""

import numpy as np
import pytest
from support.tiny_vima import scene

from groot_ros.vision.objects import View, crop, find_objects, stack


def picture(height: int = 128, width: int = 256, number: int = 7) -> dict[str, View]:
    """Return one view with a white object in rows 10 to 29 and columns 40 to 49."""
    scale_y, scale_x = height // 128, width // 256
    image = np.zeros((height, width, 3), np.uint8)
    labels = np.zeros((height, width), np.uint16)
    at = np.s_[10 * scale_y : 30 * scale_y, 40 * scale_x : 50 * scale_x]
    image[at], labels[at] = 255, number
    return {"top": View(image, labels)}


def test_a_box_is_the_centre_rounded_down_and_the_distance_of_the_outermost_pixels() -> None:
    found = find_objects(picture())
    assert found.ids == (7,)
    assert found.boxes["top"].tolist() == [[44, 19, 19, 9]]
    assert found.mask["top"].tolist() == [True]


def test_a_crop_is_padded_with_black_to_a_square_in_its_middle() -> None:
    found = find_objects(picture())
    assert found.crops["top"].shape == (1, 3, 32, 32)
    # 10 of 20 columns are white: 5 black ones before and 5 after, which is 8 of 32.
    assert found.crops["top"][0, :, :, 8:24].min() == 255
    assert found.crops["top"][0, :, :, :8].max() == 0
    assert found.crops["top"][0, :, :, 24:].max() == 0


def test_boxes_of_a_larger_image_are_scaled_to_the_training_images() -> None:
    small, large = find_objects(picture()), find_objects(picture(384, 768))
    np.testing.assert_allclose(large.boxes["top"], small.boxes["top"], atol=1.0)
    expected = np.array([134, 59, 59, 29], np.float32) / 3
    np.testing.assert_allclose(large.boxes["top"][0], expected, rtol=1e-6)
    np.testing.assert_array_equal(large.crops["top"], small.crops["top"])


def test_a_crop_of_one_row_is_padded_above_and_below() -> None:
    image = np.full((4, 9, 3), 200, np.uint8)
    found = crop(image, (2, 2, 0, 8), side=9)
    assert found[:, 4].min() == 200
    assert found[:, :4].max() == found[:, 5:].max() == 0


def test_objects_are_ordered_by_the_requested_ids() -> None:
    views = scene((4, 9))
    forwards, backwards = find_objects(views, (4, 9)), find_objects(views, (9, 4))
    for view in ("front", "top"):
        np.testing.assert_array_equal(forwards.boxes[view], backwards.boxes[view][::-1])


def test_an_object_in_one_view_only_is_rejected_with_both_views() -> None:
    views = scene({"front": (4,), "top": (4, 9)})
    with pytest.raises(
        ValueError, match=r"object 9 is not visible in view 'front', but in top: every view"
    ):
        find_objects(views)


def test_ids_that_differ_between_views_are_rejected() -> None:
    views = scene({"front": (4, 8), "top": (4, 9)})
    with pytest.raises(ValueError, match=r"object 9 is not visible in view 'front', but in top"):
        find_objects(views)


def test_an_object_of_one_pixel_is_not_visible() -> None:
    view = picture()["top"]
    labels = np.zeros_like(view.labels)
    labels[5, 5] = 3
    with pytest.raises(ValueError, match=r"object 3 is not visible in view 'top': every view"):
        find_objects({"top": View(view.image, labels)})


def test_hidden_objects_are_padding_after_the_visible_ones_where_they_are_allowed() -> None:
    views = scene({"front": (4, 9), "top": (9,)})
    found = find_objects(views, (4, 9), allow_hidden=True)
    assert found.mask["front"].tolist() == [True, True]
    assert found.mask["top"].tolist() == [True, False]
    assert found.boxes["top"][1].tolist() == [0, 0, 0, 0]
    assert found.crops["top"][1].max() == 0
    only = find_objects(views, (9,))
    np.testing.assert_array_equal(found.boxes["top"][:1], only.boxes["top"])


@pytest.mark.parametrize(
    ("ids", "problem"),
    [
        ((0, 7), r"must differ and not be 0: \[0, 7\]"),
        ((7, 7), r"must differ and not be 0: \[7, 7\]"),
        ((), "no object in the labels of top"),
        ((8,), "object 8 is not visible in view 'top': every view must show it"),
    ],
)
def test_ids_without_an_object_are_rejected(ids: tuple[int, ...], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        find_objects(picture(), ids)


def test_a_picture_without_labels_is_rejected() -> None:
    with pytest.raises(ValueError, match="no object in the labels of top"):
        find_objects(picture(number=0))


@pytest.mark.parametrize(
    ("image", "labels", "problem"),
    [
        (np.zeros((4, 5), np.uint8), np.zeros((4, 5), int), r"image must be RGB bytes .* \[4, 5\]"),
        (np.zeros((4, 5, 3)), np.zeros((4, 5), int), "image must be RGB bytes .* float64"),
        (np.zeros((4, 5, 3), np.uint8), np.zeros((5, 4), int), r"whole numbers \[4, 5\]"),
        (np.zeros((4, 5, 3), np.uint8), np.zeros((4, 5)), "labels must be whole numbers"),
    ],
)
def test_a_view_of_the_wrong_shape_or_type_is_rejected(image, labels, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        View(image, labels)


def test_padding_adds_zeros_and_never_removes_objects() -> None:
    found = find_objects(scene((4, 9)))
    more = found.padded({"front": 3, "top": 2})
    assert more.mask["front"].tolist() == [True, True, False]
    assert more.crops["front"].shape == (3, 3, 32, 32)
    np.testing.assert_array_equal(more.crops["front"][:2], found.crops["front"])
    with pytest.raises(ValueError, match="view 'top' has 2 objects, more than 1 slots"):
        found.padded({"front": 2, "top": 1})
    assert stack([found, found]).crops["top"].shape == (2, 2, 3, 32, 32)
