# SPDX-License-Identifier: Apache-2.0
"""Training loss, selection of the trained parameters, and the trainer of a checkpoint."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from support.tiny_checkpoint import HORIZON, TAG, tiny_config, write_tiny_checkpoint

from groot_ros.families.gr00t_n1d6.checkpoint import open_checkpoint
from groot_ros.families.gr00t_n1d6.network import build_model
from groot_ros.families.gr00t_n1d6.training import (
    Trainer,
    apply_tuning,
    flow_matching_loss,
    sample_time,
    train_mode,
)
from groot_ros.families.gr00t_n1d6.weights import load_model
from groot_ros.families.registry import get_family
from groot_ros.families.training import Episode
from groot_ros.layers.eagle import BackboneOutput

B, H, A, S = 3, 8, 8, 5


def batch(seed: int = 0) -> tuple:
    g = torch.Generator().manual_seed(seed)
    backbone = BackboneOutput(
        torch.randn(B, S, 16, generator=g),
        torch.ones(B, S, dtype=torch.bool),
        (torch.arange(S) > 2).expand(B, S),
    )
    mask = torch.zeros(B, H, A)
    mask[:, :6, :6] = 1.0
    action = torch.randn(B, H, A, generator=g)
    return backbone, torch.randn(B, 1, 8, generator=g), action, mask, torch.tensor([0, 1, 2])


def draws() -> dict:
    g = torch.Generator().manual_seed(1)
    return {"noise": torch.randn(B, H, A, generator=g), "time": torch.tensor([0.1, 0.5, 0.9])}


def test_time_follows_the_beta_distribution_and_stays_below_one() -> None:
    time = sample_time(tiny_config(), 20_000, torch.Generator().manual_seed(0))
    assert time.min() >= 0.0
    assert time.max() <= 0.999
    # Mean of 1 - Beta(1.5, 1) is 0.4; its standard deviation 0.262, so 0.01 is five sigma.
    assert abs(float(time.mean()) - 0.4 * 0.999) < 0.01


def test_masked_actions_do_not_contribute_to_the_loss() -> None:
    head = build_model(tiny_config()).eval().action_head
    backbone, state, action, mask, embodiment = batch()
    result = flow_matching_loss(head, backbone, state, action, mask, embodiment, **draws())
    assert not result.action_loss[mask == 0].any()
    expected = result.action_loss.sum() / (mask.sum() + 1e-6)
    assert torch.equal(result.loss, expected)


def test_the_loss_is_zero_if_the_velocity_is_predicted_exactly() -> None:
    head = build_model(tiny_config()).eval().action_head
    backbone, state, _, mask, embodiment = batch()
    given = draws()
    first = flow_matching_loss(
        head, backbone, state, torch.zeros(B, H, A), mask, embodiment, **given
    )
    # At time 0 the trajectory is the noise for any action, so the target can be chosen.
    at_start = {**given, "time": torch.zeros(B)}
    at_zero = flow_matching_loss(
        head, backbone, state, torch.zeros(B, H, A), mask, embodiment, **at_start
    )
    target = (at_zero.prediction + given["noise"]).detach()
    exact = flow_matching_loss(head, backbone, state, target, mask, embodiment, **at_start)
    assert float(exact.loss.detach()) < 1e-10
    assert float(first.loss.detach()) > 0.1


def test_state_dropout_also_acts_in_eval_mode_as_in_the_reference() -> None:
    head = build_model(tiny_config(state_dropout_prob=1.0)).eval().action_head
    backbone, state, *rest = batch()
    dropped = flow_matching_loss(head, backbone, state, *rest, **draws())
    other = flow_matching_loss(head, backbone, state + 1.0, *rest, **draws())
    kept = flow_matching_loss(head, backbone, state + 1.0, *rest, **draws(), state_dropout_prob=0.0)
    assert torch.equal(dropped.loss, other.loss)
    assert not torch.equal(dropped.loss, kept.loss)


def test_state_noise_acts_in_training_only() -> None:
    head = build_model(tiny_config(state_additive_noise_scale=0.5)).action_head
    head.eval()
    first, second = (flow_matching_loss(head, *batch(), **draws()).loss for _ in range(2))
    assert torch.equal(first, second)
    head.state_encoder.train()
    head.training = True
    seeded = [
        flow_matching_loss(
            head, *batch(), **draws(), generator=torch.Generator().manual_seed(seed)
        ).loss
        for seed in (1, 1, 2)
    ]
    assert torch.equal(seeded[0], seeded[1])
    assert not torch.equal(seeded[0], seeded[2])


def test_a_few_steps_of_training_lower_the_loss() -> None:
    torch.manual_seed(0)
    model = build_model(replace(tiny_config(), dit=replace(tiny_config().dit, dropout=0.0)))
    optimiser = torch.optim.AdamW(apply_tuning(model), lr=1e-2)
    losses = []
    for _ in range(40):
        loss = flow_matching_loss(model.action_head, *batch(), **draws()).loss
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]


@pytest.mark.parametrize(
    ("switch", "part"),
    [
        ("tune_llm", "backbone.model.language_model."),
        ("tune_visual", "backbone.model.vision_model."),
        ("tune_visual", "backbone.model.mlp1."),
        ("tune_projector", "action_head.state_encoder."),
        ("tune_projector", "action_head.action_encoder."),
        ("tune_projector", "action_head.action_decoder."),
        ("tune_projector", "action_head.position_embedding."),
        ("tune_projector", "action_head.mask_token"),
        ("tune_diffusion_model", "action_head.model."),
        ("tune_vlln", "action_head.vlln."),
    ],
)
def test_a_switch_freezes_its_part_and_nothing_else(switch: str, part: str) -> None:
    everything = {"tune_top_llm_layers": 0, "state_dropout_prob": 0.5}
    model = build_model(tiny_config(**everything, **{switch: False}))
    apply_tuning(model)
    frozen = {name for name, p in model.named_parameters() if not p.requires_grad}
    other = build_model(tiny_config(**everything))
    apply_tuning(other)
    assert all(p.requires_grad for p in other.parameters())
    assert frozen >= {name for name, _ in model.named_parameters() if name.startswith(part)}
    assert frozen


def test_the_top_layers_learn_while_the_language_model_is_frozen() -> None:
    model = build_model(tiny_config(tune_llm=False, tune_top_llm_layers=1))
    apply_tuning(model)
    text = model.backbone.model.text
    assert not any(p.requires_grad for p in text.layers[0].parameters())
    assert all(p.requires_grad for p in text.layers[1].parameters())


def test_frozen_parts_stay_in_eval_mode_while_the_rest_trains() -> None:
    model = build_model(tiny_config(tune_diffusion_model=False))
    train_mode(model)
    assert not model.action_head.model.training
    assert model.action_head.state_encoder.training


LENGTH = 12


def episode() -> Episode:
    """Return an arm that moves by one degree per step, with black images."""
    arm = np.arange(LENGTH)[:, None] * np.ones(5)
    groups = {"single_arm": arm, "gripper": np.full((LENGTH, 1), 50.0)}
    images = np.zeros((LENGTH, 48, 64, 3), dtype=np.uint8)
    return Episode({"front": images, "wrist": images}, groups, groups, "go")


@pytest.fixture
def trainer(tmp_path: Path) -> Trainer:
    path = write_tiny_checkpoint(tmp_path / "checkpoint")
    family = get_family("gr00t_n1d6")
    return family.trainer(path, embodiment=TAG, device=torch.device("cpu"))


def test_a_training_sample_has_the_actions_that_follow_its_state(trainer: Trainer) -> None:
    sample = trainer.training_sample(episode(), 3)
    # Relative actions of 0, 1, ... degrees with statistics of +-20 degrees.
    np.testing.assert_allclose(sample.action[:, 0], np.arange(HORIZON) / 20.0, atol=1e-6)
    np.testing.assert_allclose(sample.state[0, 0], 3.0 / 90.0, atol=1e-6)
    assert sample.action_mask[:, :6].all()
    assert not sample.action_mask[:, 6:].any()


def test_actions_beyond_the_end_of_an_episode_are_masked(trainer: Trainer) -> None:
    mask = trainer.training_sample(episode(), LENGTH - 3).action_mask
    assert mask.any(axis=1).tolist() == [True] * 3 + [False] * (HORIZON - 3)


@pytest.mark.slow
def test_training_a_checkpoint_lowers_its_loss_and_saves_the_new_weights(
    trainer: Trainer, tmp_path: Path
) -> None:
    groups = trainer.parameter_groups({"tune_visual": False, "tune_llm": False})
    eagle = trainer.model.backbone.model
    frozen = eagle.mlp1[1].weight.detach().clone()
    assert not any(p is eagle.mlp1[1].weight for group in groups for p in group["params"])
    batch = trainer.collate([trainer.training_sample(episode(), index) for index in (0, 3)])
    optimiser = torch.optim.AdamW(groups, lr=2e-2)
    losses = []
    for _ in range(60):
        loss = trainer.loss(batch, torch.Generator().manual_seed(0))["loss"]
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]
    trainer.save(tmp_path / "trained")
    opened = open_checkpoint(tmp_path / "trained", TAG)
    saved = load_model(tmp_path / "trained", opened.config)
    assert torch.equal(saved.backbone.model.mlp1[1].weight, frozen)
    before = open_checkpoint(tmp_path / "checkpoint", TAG)
    assert opened.spec == before.spec
    assert opened.digest() != before.digest()
    weights = (m.action_head.state_encoder.layer1.W for m in (saved, trainer.model))
    assert torch.equal(*weights)


def test_a_batch_without_actions_cannot_be_trained_on(trainer: Trainer) -> None:
    sample = replace(trainer.training_sample(episode(), 0), action=None, action_mask=None)
    with pytest.raises(ValueError, match="the batch has no actions"):
        trainer.loss(trainer.collate([sample]))
