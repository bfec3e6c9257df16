# SPDX-License-Identifier: Apache-2.0
"""Action head: effects of conditioning, and changes that must not affect the result."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.tiny_checkpoint import tiny_config

from groot_ros.families.gr00t_n1d6.action_head import ActionHead
from groot_ros.families.gr00t_n1d6.network import build_model
from groot_ros.layers.action_head import HeadContext
from groot_ros.layers.eagle import BackboneOutput
from groot_ros.layers.flow_matching import Conditioning, draw_noise

H, A, S = 8, 8, 6


@pytest.fixture(scope="module")
def head() -> ActionHead:
    return build_model(tiny_config()).eval().action_head


def context_of(head: ActionHead, batch: int = 2) -> HeadContext:
    generator = torch.Generator().manual_seed(3)
    features = torch.randn(batch, S, 16, generator=generator)
    image = (torch.arange(S) > 2).expand(batch, S)
    backbone = BackboneOutput(features, torch.ones(batch, S, dtype=torch.bool), image)
    state = torch.randn(batch, 1, 8, generator=generator)
    with torch.no_grad():
        return head.context(backbone, state, torch.zeros(batch, dtype=torch.int64))


@torch.no_grad()
def denoise(head: ActionHead, conditioning: Conditioning | None = None, steps=None, seed=1):
    return head.denoise(context_of(head), draw_noise((2, H, A), seed), steps, conditioning)


def neutral() -> Conditioning:
    return Conditioning.none(2, H, A, torch.device("cpu"))


def test_neutral_conditioning_leaves_the_result_bit_for_bit_the_same(head: ActionHead) -> None:
    random_prefix = replace(neutral(), prefix=torch.randn(2, H, A))
    assert torch.equal(denoise(head), denoise(head, random_prefix))


def test_frozen_values_equal_the_prefix_bit_for_bit(head: ActionHead) -> None:
    prefix = torch.randn(2, H, A)
    frozen = torch.zeros(2, H, A)
    frozen[:, :3, :5] = 1.0
    result = denoise(
        head, Conditioning(prefix, frozen, torch.zeros(2, H, A), 1 - frozen, torch.zeros(2, H))
    )
    assert torch.equal(result[:, :3, :5], prefix[:, :3, :5])
    assert not torch.equal(result[:, 3:], denoise(head)[:, 3:])


@settings(deadline=None, max_examples=10)
@given(steps=st.integers(1, 6))
def test_full_weight_ends_on_the_prefix(steps: int) -> None:
    head = build_model(tiny_config()).eval().action_head
    weight = torch.zeros(2, H, A)
    weight[:, :4] = 1.0
    prefix = torch.full((2, H, A), 0.3)
    result = denoise(head, replace(neutral(), prefix=prefix, weight=weight), steps)
    torch.testing.assert_close(result[:, :4], prefix[:, :4], atol=1e-5, rtol=0)


def test_a_clean_step_is_shown_at_time_one(head: ActionHead) -> None:
    clean = torch.zeros(2, H)
    clean[:, 0] = 1.0
    assert not torch.equal(denoise(head, replace(neutral(), clean=clean)), denoise(head))


def test_the_number_of_steps_can_be_chosen_per_call(head: ActionHead) -> None:
    assert torch.equal(denoise(head), denoise(head, steps=4))
    assert not torch.equal(denoise(head, steps=3), denoise(head, steps=4))
    with pytest.raises(ValueError, match="at least 1"):
        denoise(head, steps=0)


def test_the_same_context_and_noise_give_the_same_actions(head: ActionHead) -> None:
    assert torch.equal(denoise(head), denoise(head))


@torch.no_grad()
def test_padding_does_not_change_the_result_of_the_alternating_transformer(
    head: ActionHead,
) -> None:
    context = context_of(head)
    padded = replace(
        context,
        features=torch.cat([torch.randn(2, 3, 16), context.features], dim=1),
        attention_mask=torch.cat([torch.zeros(2, 3).bool(), context.attention_mask], dim=1),
        image_mask=torch.cat([torch.zeros(2, 3).bool(), context.image_mask], dim=1),
    )
    noise = draw_noise((2, H, A), 1)
    torch.testing.assert_close(
        head.denoise(padded, noise), head.denoise(context, noise), atol=1e-5, rtol=0
    )


@torch.no_grad()
def test_text_blocks_attend_to_text_and_image_blocks_to_images(head: ActionHead) -> None:
    context = context_of(head)
    masks = head.model.cross_masks(context.attention_mask, context.image_mask)
    assert torch.equal(masks[0], ~context.image_mask)
    assert masks[1] is None
    assert torch.equal(masks[2], context.image_mask)
