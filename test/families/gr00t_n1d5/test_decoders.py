# SPDX-License-Identifier: Apache-2.0
"""Bimanual decoders: symmetry of the arms, parts of the loss, and what each switch trains."""

from dataclasses import replace

import pytest
import torch
from golden.n1d5_head import backbone_of
from support.tiny_n1d5 import BIMANUAL, tiny_model
from torch import Tensor

from groot_ros.families.gr00t_n1d5.config import BimanualConfig
from groot_ros.families.gr00t_n1d5.decoders import SharedBottomArmDecoder
from groot_ros.families.gr00t_n1d5.training import (
    apply_tuning,
    flow_matching_loss,
    train_mode,
    with_switches,
)

VARIANTS = {
    "cross": BIMANUAL,
    "shared": replace(BIMANUAL, cross=False),
    "independent": replace(BIMANUAL, shared=False),
    "one arm decoder": replace(BIMANUAL, split=False),
}
PAIRS = (
    ("cross_attn_left", "cross_attn_right"),
    ("layer_norm_left", "layer_norm_right"),
    ("left_output_layer", "right_output_layer"),
)


def swap(decoder: SharedBottomArmDecoder) -> None:
    """Exchange the weights of the two arms."""
    for left, right in PAIRS:
        one, two = getattr(decoder, left), getattr(decoder, right)
        setattr(decoder, left, two)
        setattr(decoder, right, one)


@torch.no_grad()
def test_swapped_weights_of_the_arms_swap_their_actions() -> None:
    decoder = tiny_model(BIMANUAL).action_head.decoders["shared_arm_decoder"]
    x, row = torch.randn(2, 8, 16), torch.tensor([1, 4])
    left, right = decoder(x, row)
    assert (left - right).abs().max() > 1e-3
    swap(decoder)
    other_left, other_right = decoder(x, row)
    torch.testing.assert_close(other_left, right, rtol=0, atol=0)
    torch.testing.assert_close(other_right, left, rtol=0, atol=0)


@torch.no_grad()
def test_swapped_weights_and_inputs_of_the_arms_swap_the_chunk() -> None:
    """The arms' columns of state encoder and action encoder are exchanged, too."""
    model = tiny_model(BIMANUAL, num_inference_timesteps=2)
    head = model.action_head
    order = torch.tensor([*range(7, 14), *range(7), *range(14, 20)])
    features, state, row = torch.randn(1, 9, 12), torch.randn(1, 1, 20), torch.tensor([3])
    noise = torch.randn(1, 8, 16)

    def chunk(state: Tensor, noise: Tensor) -> Tensor:
        return head.denoise(head.context(backbone_of(features), state, row), noise)

    before = chunk(state, noise)
    swap(head.decoders["shared_arm_decoder"])
    for weights in (head.state_encoder.layer1.W, head.action_encoder.W1.W):
        weights.copy_(weights[:, order[: weights.shape[1]]])
    after = chunk(state[..., order], noise[..., order[:16]])
    assert (before[..., :7] - before[..., 7:14]).abs().max() > 1e-3
    torch.testing.assert_close(after, before[..., order[:16]], rtol=1e-6, atol=1e-6)


@torch.no_grad()
def test_the_arms_attend_to_each_other_only_with_cross_attention() -> None:
    x, row = torch.randn(1, 8, 16), torch.tensor([0])
    changed = x.clone()
    changed[:, 5] += 1.0
    for name, expected in (("cross", True), ("shared", False)):
        decoder = tiny_model(VARIANTS[name]).action_head.decoders["shared_arm_decoder"]
        moved = (decoder(x, row)[0] - decoder(changed, row)[0]).abs().amax(dim=(0, 2)) > 0
        assert moved[5]
        assert bool(moved[:5].any()) is expected


@pytest.mark.parametrize("name", VARIANTS)
@torch.no_grad()
def test_noise_of_columns_that_the_robot_lacks_is_not_seen_at_inference(name: str) -> None:
    model = tiny_model(VARIANTS[name])
    head = model.action_head
    context = head.context(
        backbone_of(torch.randn(1, 9, 12)), torch.randn(1, 1, 20), torch.tensor([2])
    )
    noise = torch.randn(1, 8, 16)
    before = head.denoise(context, noise)
    head.action_encoder.W1.W[:, 16:] += 5.0
    torch.testing.assert_close(head.denoise(context, noise), before, rtol=0, atol=0)
    assert before.shape == (1, 8, 16)


def losses(model, settings: BimanualConfig, mask: Tensor) -> dict[str, float]:
    generator = torch.Generator().manual_seed(3)
    action = torch.randn(2, 8, 18, generator=generator)
    found = flow_matching_loss(
        model.action_head,
        backbone_of(torch.randn(2, 9, 12, generator=generator)),
        torch.randn(2, 1, 20, generator=generator),
        action,
        mask,
        torch.tensor([1, 2]),
        bimanual=settings,
        generator=generator,
    )
    return {name: value.item() for name, value in found.losses.items()}


@torch.no_grad()
def test_fixed_and_learned_weights_combine_the_losses_of_the_parts() -> None:
    model = tiny_model(BIMANUAL)
    mask = torch.ones(2, 8, 18)
    fixed = replace(
        BIMANUAL, learned_weights=False, left_weight=0.5, right_weight=2.0, claw_weight=3.0
    )
    found = losses(model, fixed, mask)
    expected = (
        0.5 * found["left_arm_loss"]
        + 2.0 * found["right_arm_loss"]
        + 3.0 * found["claw_loss"]
        + 0.2 * found["arm_coordination_loss"]
    )
    assert found["loss"] == pytest.approx(expected, rel=1e-6)
    learned = losses(model, BIMANUAL, mask)
    sigma = model.action_head.task_log_sigma
    expected = 0.2 * learned["arm_coordination_loss"] + sum(
        torch.exp(-2 * sigma[part]).item() * learned[f"{part}_loss"] + sigma[part].item()
        for part in ("left_arm", "right_arm", "claw")
    )
    assert learned["loss"] == pytest.approx(expected, rel=1e-6)
    without = losses(model, replace(fixed, coordination_weight=0.0), mask)
    assert "arm_coordination_loss" not in without
    gap = found["loss"] - 0.2 * found["arm_coordination_loss"]
    assert without["loss"] == pytest.approx(gap, rel=1e-5)


@torch.no_grad()
def test_coordination_counts_steps_in_which_both_arms_are_known() -> None:
    model = tiny_model(BIMANUAL)
    mask = torch.ones(2, 8, 18)
    mask[:, 4:, 7:14] = 0
    late = losses(model, BIMANUAL, mask)["arm_coordination_loss"]
    mask[:, 4:, :14] = 0
    assert losses(model, BIMANUAL, mask)["arm_coordination_loss"] == pytest.approx(late)
    assert late != pytest.approx(
        losses(model, BIMANUAL, torch.ones(2, 8, 18))["arm_coordination_loss"]
    )


#: Switch -> first words of the names that it trains, from the document's table.
TABLE = {
    "tune_visual": ("backbone.eagle_model.vision_model.", "backbone.eagle_model.mlp1."),
    "tune_llm": ("backbone.eagle_model.language_model.",),
    "tune_projector": (
        "action_head.vl_self_attention.",
        "action_head.state_encoder.",
        "action_head.action_encoder.",
        "action_head.position_embedding.",
        "action_head.action_",
        "action_head.shared_arm_decoder.",
    ),
    "tune_diffusion_model": ("action_head.model.",),
}
ALWAYS = (
    "backbone.eagle_linear.",
    "action_head.vlln.",
    "action_head.future_tokens.",
    "action_head.task_log_sigma.",
)


@pytest.mark.parametrize("switch", [*TABLE, ""])
@pytest.mark.parametrize("name", [*VARIANTS, "stock"])
def test_a_switch_trains_exactly_its_parameters(name: str, switch: str) -> None:
    model = tiny_model(VARIANTS.get(name))
    model.config = with_switches(model.config, dict.fromkeys(TABLE, False))
    if switch:
        model.config = with_switches(model.config, {switch: True})
    trained = apply_tuning(model)
    expected = {
        n for n, _ in model.named_parameters() if n.startswith((*ALWAYS, *TABLE.get(switch, ())))
    }
    assert {n for n, p in model.named_parameters() if p.requires_grad} == expected
    assert len(trained) == len(expected)
    train_mode(model)
    assert model.action_head.model.training is (switch == "tune_diffusion_model")
    assert model.backbone.eagle_model.vision_model.training is (switch == "tune_visual")


def test_an_unknown_switch_is_rejected_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"'tune_vlln' .known: tune_diffusion_model, tune_llm"):
        with_switches(tiny_model().config, {"tune_vlln": True})
