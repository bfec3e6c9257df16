# SPDX-License-Identifier: Apache-2.0
"""Constants that depend on the instruction and the image sizes, and how long they are kept."""

import numpy as np
import pytest
import torch
from support.random_models import random_model
from support.tiny_checkpoint import tiny_config

from groot_ros.families.gr00t_n1d6.backbone import pixel_shuffle
from groot_ros.families.gr00t_n1d6.layout import Layouts
from groot_ros.families.gr00t_n1d6.program import make_staged
from groot_ros.layers.patches import cell_order, to_cell_patches
from groot_ros.layers.siglip2 import to_patches

IMAGE = tiny_config().eagle.image_token_index


@pytest.fixture
def layouts() -> Layouts:
    return make_staged(random_model()).prompts


def prompt(images: int, text: int = 3) -> np.ndarray:
    return np.array([*range(1, text + 1), *[IMAGE] * images])


@pytest.mark.parametrize(("rows", "columns", "factor"), [(2, 3, 2), (1, 4, 3), (3, 1, 1)])
def test_patches_come_cell_by_cell(rows: int, columns: int, factor: int) -> None:
    patch = 4
    h, w = rows * factor, columns * factor
    images = torch.randn(2, 3, h * patch, w * patch)
    by_row = to_patches(images, patch)
    expected = torch.stack([cell_order(each, h, w, factor) for each in by_row])
    torch.testing.assert_close(to_cell_patches(images, patch, factor), expected, rtol=0, atol=0)


def test_a_cell_holds_the_patches_that_pixel_shuffle_puts_together() -> None:
    patches = torch.randn(1, 24, 5)
    shuffled = pixel_shuffle(patches, 4, 6, 2)[0]
    ours = cell_order(patches[0], 4, 6, 2).reshape(6, 4, 5)
    torch.testing.assert_close(ours.transpose(1, 2).flatten(1), shuffled, rtol=0, atol=0)


def test_the_same_instruction_and_sizes_are_prepared_once(layouts: Layouts) -> None:
    first = layouts.of_images(prompt(4), [(56, 56)])
    assert layouts.of_images(prompt(4), [(56, 56)]) is first
    other = layouts.of_images(prompt(4, text=2), [(56, 56)])
    assert other is not first
    assert other.batches[0].grid is first.batches[0].grid


def test_the_oldest_layouts_are_forgotten(layouts: Layouts) -> None:
    first = layouts.of_images(prompt(1), [(28, 28)])
    for text in range(4, 20):
        layouts.of_images(prompt(1, text), [(28, 28)])
    again = layouts.of_images(prompt(1), [(28, 28)])
    assert again is not first
    torch.testing.assert_close(again.text.embeddings, first.text.embeddings)


def test_text_and_image_tokens_are_told_apart(layouts: Layouts) -> None:
    layout = layouts.of_images(np.array([5, IMAGE, 6, IMAGE, IMAGE, 7]), [(28, 28), (28, 56)])
    assert [index.tolist() for index in layout.indexes] == [[0, 2, 5], [1, 3, 4]]
    assert layout.text.image_index.tolist() == [1, 3, 4]
    assert layout.lengths == (3, 3)


def test_images_of_one_size_share_a_batch_and_find_their_places(layouts: Layouts) -> None:
    layout = layouts.of_images(prompt(1 + 2 + 1), [(28, 28), (28, 56), (28, 28)])
    assert [batch.views for batch in layout.batches] == [(0, 2), (1,)]
    assert layout.order is not None
    assert layout.order.tolist() == [0, 2, 3, 1]


def test_images_in_order_need_no_reordering(layouts: Layouts) -> None:
    assert layouts.of_images(prompt(3), [(28, 28), (28, 56)]).order is None


def test_too_few_image_tokens_are_rejected(layouts: Layouts) -> None:
    with pytest.raises(ValueError, match=f"give 4 tokens but input_ids hold 3 of id {IMAGE}"):
        layouts.of_images(prompt(3), [(56, 56)])


def test_an_image_that_is_no_multiple_of_a_cell_is_rejected(layouts: Layouts) -> None:
    with pytest.raises(ValueError, match="42 x 56 does not divide into cells of 2 x 2 patches"):
        layouts.of_images(prompt(2), [(42, 56)])
