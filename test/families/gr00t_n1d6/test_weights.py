# SPDX-License-Identifier: Apache-2.0
"""Weights from disk: one file, shards, one embodiment only, and every kind of wrong tensor."""

import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from support.tiny_checkpoint import tiny_config, write_tiny_checkpoint

from groot_ros.core.config_reader import CheckpointError
from groot_ros.families.gr00t_n1d6.network import Gr00tN1d6, build_model
from groot_ros.families.gr00t_n1d6.weights import load_model, save_model
from groot_ros.layers.flow_matching import draw_noise

HEAD = "action_head.state_encoder.layer1.W"


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return write_tiny_checkpoint(tmp_path / "checkpoint")


def change(directory: Path, edit) -> None:
    path = directory / "model.safetensors"
    weights = load_file(path)
    edit(weights)
    save_file(weights, path)


def same_weights(a: Gr00tN1d6, b: Gr00tN1d6) -> bool:
    first, second = dict(a.named_parameters()), dict(b.named_parameters())
    return first.keys() == second.keys() and all(
        torch.equal(first[name], second[name]) for name in first
    )


def act(model: Gr00tN1d6, embodiment: int) -> torch.Tensor:
    torch.manual_seed(0)
    config = model.config
    ids = torch.tensor([[1, 2, 259, 259, 259, 259, 3]])
    images = [torch.randn(1, 3, 56, 56)]
    state = torch.randn(1, 1, config.max_state_dim)
    noise = draw_noise((1, config.action_horizon, config.max_action_dim), 5)
    with torch.no_grad():
        return model(ids, torch.ones_like(ids), images, state, torch.tensor([embodiment]), noise)


def test_shards_contain_the_same_model_as_one_file(tmp_path: Path) -> None:
    config = tiny_config()
    model = build_model(config)
    save_model(model, tmp_path / "one")
    save_model(model, tmp_path / "many", max_shard_bytes=50_000)
    assert len(list((tmp_path / "many").glob("*.safetensors"))) > 2
    loaded = load_model(tmp_path / "many", config)
    assert same_weights(loaded, load_model(tmp_path / "one", config))
    assert same_weights(loaded, model)


@pytest.mark.parametrize("embodiment", [0, 7, 11])
def test_the_weights_of_one_embodiment_give_the_actions_of_the_whole_model(
    checkpoint: Path, embodiment: int
) -> None:
    config = tiny_config()
    whole, one = (
        load_model(checkpoint, config),
        load_model(checkpoint, config, embodiment=embodiment),
    )
    torch.testing.assert_close(act(one, 0), act(whole, embodiment), atol=1e-6, rtol=0)
    assert one.action_head.state_encoder.layer1.W.shape[0] == 1


def test_bfloat16_stays_close_and_accumulates_in_float32(checkpoint: Path) -> None:
    exact = act(load_model(checkpoint, tiny_config()), 1)
    coarse = act(load_model(checkpoint, tiny_config(), dtype=torch.bfloat16), 1)
    assert coarse.dtype == torch.float32
    torch.testing.assert_close(coarse, exact, atol=0.05, rtol=0)


def test_unused_tensors_are_ignored(checkpoint: Path) -> None:
    def add(weights: dict) -> None:
        weights["backbone.model.language_model.lm_head.weight"] = torch.zeros(2, 2)
        weights["backbone.model.vision_model.vision_model.head.probe"] = torch.zeros(1, 1, 16)
        weights["action_head.mask_token"] = torch.zeros(1, 1, 16)

    before = load_model(checkpoint, tiny_config())
    change(checkpoint, add)
    assert same_weights(before, load_model(checkpoint, tiny_config()))


def test_a_missing_mask_token_is_initialised_randomly(checkpoint: Path) -> None:
    config = tiny_config(state_dropout_prob=0.2)
    drawn = load_model(checkpoint, config).action_head.mask_token
    assert 0 < drawn.abs().max() < 0.2
    change(checkpoint, lambda w: w.update({"action_head.mask_token": torch.ones(1, 1, 16)}))
    assert load_model(checkpoint, config).action_head.mask_token.min() == 1.0


def test_missing_and_unexpected_tensors_are_listed(checkpoint: Path) -> None:
    def remove_and_add(weights: dict) -> None:
        weights["action_head.surplus.weight"] = torch.zeros(1)
        del weights[HEAD]

    change(checkpoint, remove_and_add)
    with pytest.raises(CheckpointError) as caught:
        load_model(checkpoint, tiny_config())
    assert f"1 missing: {HEAD}" in str(caught.value)
    assert "1 unexpected: action_head.surplus.weight" in str(caught.value)
    assert str(checkpoint) in str(caught.value)


def test_a_wrong_shape_is_an_error_with_both_shapes(checkpoint: Path) -> None:
    with pytest.raises(CheckpointError, match=r"shape \[12, 8, 16\].*requires \[12, 9, 16\]"):
        load_model(checkpoint, tiny_config(max_state_dim=9))


def test_weights_that_are_not_finite_are_rejected(checkpoint: Path) -> None:
    change(checkpoint, lambda w: w[HEAD].view(-1)[3:4].fill_(float("nan")))
    with pytest.raises(CheckpointError, match=f"'{HEAD}' holds values that are not finite"):
        load_model(checkpoint, tiny_config())


def test_an_embodiment_beyond_the_weights_is_rejected(checkpoint: Path) -> None:
    with pytest.raises(CheckpointError, match=r"max_num_embodiments.*12.*embodiment 12"):
        load_model(checkpoint, tiny_config(), embodiment=12)


@pytest.mark.parametrize("keep", [0, 5, 1000, -7])
def test_a_truncated_file_is_rejected(checkpoint: Path, keep: int) -> None:
    path = checkpoint / "model.safetensors"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(CheckpointError, match=r"model.safetensors: is truncated"):
        load_model(checkpoint, tiny_config())


def test_a_file_that_is_not_safetensors_is_rejected(checkpoint: Path) -> None:
    path = checkpoint / "model.safetensors"
    path.write_bytes((20).to_bytes(8, "little") + b"not a header at all." + bytes(100))
    with pytest.raises(CheckpointError, match="is truncated or not a safetensors file"):
        load_model(checkpoint, tiny_config())


def test_progress_increases_to_one(checkpoint: Path) -> None:
    seen: list[float] = []
    load_model(checkpoint, tiny_config(), progress=seen.append)
    assert seen == sorted(seen)
    assert seen[-1] == 1.0


@pytest.mark.parametrize("limit", [None, 60_000])
def test_saved_files_have_the_permissions_of_the_umask(tmp_path: Path, limit: int | None) -> None:
    before = os.umask(0o027)
    try:
        save_model(build_model(tiny_config(), seed=0), tmp_path, max_shard_bytes=limit)
    finally:
        os.umask(before)
    weights = sorted(tmp_path.glob("*.safetensors"))
    assert (len(weights) > 1) == (limit is not None)
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o640}


@pytest.mark.parametrize("kind", [torch.int8, torch.uint8, torch.int64, torch.bool])
def test_integer_weights_are_rejected(checkpoint: Path, kind: torch.dtype) -> None:
    change(checkpoint, lambda weights: weights.update({HEAD: weights[HEAD].to(kind)}))
    with pytest.raises(CheckpointError, match=f"'{HEAD}' is {str(kind)[6:]}; weights must be"):
        load_model(checkpoint, tiny_config())


@pytest.mark.parametrize("kind", [torch.float64, torch.float16, torch.bfloat16])
def test_weights_of_another_precision_are_converted(checkpoint: Path, kind: torch.dtype) -> None:
    change(checkpoint, lambda weights: weights.update({HEAD: weights[HEAD].to(kind)}))
    assert load_model(checkpoint, tiny_config()).action_head.state_encoder.layer1.W.isfinite().all()
