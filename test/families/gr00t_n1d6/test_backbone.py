# SPDX-License-Identifier: Apache-2.0
"""The backbone with images of several sizes and with padding."""

import pytest
import torch
from support.tiny_checkpoint import tiny_config

from groot_ros.families.gr00t_n1d6.backbone import EagleBackbone
from groot_ros.families.gr00t_n1d6.network import build_model

IMAGE = tiny_config().eagle.image_token_index


@pytest.fixture(scope="module")
def backbone() -> EagleBackbone:
    return build_model(tiny_config()).eval().backbone


def pixels(h: int, w: int, seed: int) -> torch.Tensor:
    return torch.randn(1, 3, h, w, generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def test_tokens_keep_the_order_of_images_of_mixed_sizes(backbone: EagleBackbone) -> None:
    images = [pixels(56, 84, 0), pixels(28, 56, 1), pixels(56, 84, 2)]
    together = backbone.model.image_tokens(images)
    alone = torch.cat([backbone.model.image_tokens([image]) for image in images])
    assert together.shape == (6 + 2 + 6, 16)
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=0)


@torch.no_grad()
def test_images_do_not_attend_to_each_other(backbone: EagleBackbone) -> None:
    first = backbone.model.image_tokens([pixels(56, 56, 0), pixels(56, 56, 1)])[:4]
    second = backbone.model.image_tokens([pixels(56, 56, 0), pixels(56, 56, 2)])[:4]
    torch.testing.assert_close(first, second, atol=1e-6, rtol=0)


def test_a_wrong_number_of_image_tokens_is_an_error_with_both_numbers(
    backbone: EagleBackbone,
) -> None:
    ids = torch.tensor([[1, IMAGE, IMAGE]])
    with pytest.raises(ValueError, match=r"4 tokens but input_ids hold 2"):
        backbone(ids, torch.ones_like(ids), [pixels(56, 56, 0)])


@torch.no_grad()
def test_a_prompt_without_images_works(backbone: EagleBackbone) -> None:
    ids = torch.tensor([[1, 2, 3]])
    out = backbone(ids, torch.ones_like(ids), [])
    assert out.features.shape == (1, 3, 16)
    assert not out.image_mask.any()


@torch.no_grad()
def test_left_padding_does_not_change_the_features(backbone: EagleBackbone) -> None:
    ids = torch.tensor([[1, 2, IMAGE, IMAGE, IMAGE, IMAGE, 3]])
    padded = torch.cat([torch.full((1, 3), 256), ids], dim=1)
    mask = (torch.arange(10) >= 3).long()[None]
    image = [pixels(56, 56, 0)]
    unpadded = backbone(ids, torch.ones_like(ids), image)
    shifted = backbone(padded, mask, image)
    torch.testing.assert_close(shifted.features[:, 3:], unpadded.features, atol=1e-5, rtol=0)
    assert torch.isfinite(shifted.features).all()
    assert torch.equal(shifted.image_mask[:, 3:], unpadded.image_mask)
