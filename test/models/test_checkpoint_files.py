"""Weights from disk: single, sharded, one embodiment only, and everything that can be wrong."""

import json
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from support.tiny_checkpoint import TAG, tiny_config, write_tiny_checkpoint

from groot_ros.checkpoint.digest import checkpoint_digest
from groot_ros.checkpoint.safetensors_file import index_checkpoint, read_header
from groot_ros.core.config_reader import CheckpointError
from groot_ros.models.gr00t_n1d6 import Gr00tN1d6, build_model, draw_noise, load_model, save_model
from groot_ros.processing import BackboneAssets
from groot_ros.runtime.checkpoint_parts import open_checkpoint

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


def test_our_reader_gives_what_the_library_gives(checkpoint: Path) -> None:
    path = checkpoint / "model.safetensors"
    theirs = load_file(path)
    ours = read_header(path)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name].read(), theirs[name]) for name in theirs)
    assert torch.equal(ours[HEAD].read(3), theirs[HEAD][3:4])


def test_every_dtype_survives_the_reader(tmp_path: Path) -> None:
    path = tmp_path / "all.safetensors"
    kinds = (torch.bfloat16, torch.float16, torch.float64, torch.int64, torch.uint8, torch.bool)
    tensors = {str(kind): torch.arange(6).reshape(2, 3).to(kind) for kind in kinds}
    tensors["scalar"], tensors["empty"] = torch.tensor(1.5), torch.empty(0, 4)
    save_file(tensors, path)
    found = read_header(path)
    assert all(torch.equal(found[name].read(), tensors[name]) for name in tensors)


def test_shards_hold_the_same_model_as_one_file(tmp_path: Path) -> None:
    config = tiny_config()
    model = build_model(config)
    save_model(model, tmp_path / "one")
    save_model(model, tmp_path / "many", max_shard_bytes=50_000)
    assert len(list((tmp_path / "many").glob("*.safetensors"))) > 2
    loaded = load_model(tmp_path / "many", config)
    assert same_weights(loaded, load_model(tmp_path / "one", config))
    assert same_weights(loaded, model)


@pytest.mark.parametrize("embodiment", [0, 7, 11])
def test_the_slice_of_one_embodiment_acts_as_the_whole_model(
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


def test_unused_tensors_are_skipped_by_name(checkpoint: Path) -> None:
    def add(weights: dict) -> None:
        weights["backbone.model.language_model.lm_head.weight"] = torch.zeros(2, 2)
        weights["backbone.model.vision_model.vision_model.head.probe"] = torch.zeros(1, 1, 16)
        weights["action_head.mask_token"] = torch.zeros(1, 1, 16)

    before = load_model(checkpoint, tiny_config())
    change(checkpoint, add)
    assert same_weights(before, load_model(checkpoint, tiny_config()))


def test_a_mask_token_is_loaded_where_there_is_one_and_drawn_where_not(checkpoint: Path) -> None:
    config = tiny_config(state_dropout_prob=0.2)
    drawn = load_model(checkpoint, config).action_head.mask_token
    assert 0 < drawn.abs().max() < 0.2
    change(checkpoint, lambda w: w.update({"action_head.mask_token": torch.ones(1, 1, 16)}))
    assert load_model(checkpoint, config).action_head.mask_token.min() == 1.0


def test_missing_and_unexpected_tensors_are_listed(checkpoint: Path) -> None:
    def spoil(weights: dict) -> None:
        weights["action_head.surplus.weight"] = torch.zeros(1)
        del weights[HEAD]

    change(checkpoint, spoil)
    with pytest.raises(CheckpointError) as caught:
        load_model(checkpoint, tiny_config())
    assert f"1 missing: {HEAD}" in str(caught.value)
    assert "1 unexpected: action_head.surplus.weight" in str(caught.value)
    assert str(checkpoint) in str(caught.value)


def test_a_wrong_shape_names_both_shapes(checkpoint: Path) -> None:
    with pytest.raises(CheckpointError, match=r"shape \[12, 8, 16\].*asks for \[12, 9, 16\]"):
        load_model(checkpoint, tiny_config(max_state_dim=9))


def test_weights_that_are_not_finite_are_rejected(checkpoint: Path) -> None:
    change(checkpoint, lambda w: w[HEAD].view(-1)[3:4].fill_(float("nan")))
    with pytest.raises(CheckpointError, match=f"'{HEAD}' holds values that are not finite"):
        load_model(checkpoint, tiny_config())


def test_an_embodiment_beyond_the_weights_is_rejected(checkpoint: Path) -> None:
    with pytest.raises(CheckpointError, match=r"max_num_embodiments.*12.*embodiment 12"):
        load_model(checkpoint, tiny_config(), embodiment=12)


@pytest.mark.parametrize("keep", [0, 5, 1000, -7])
def test_a_truncated_file_says_so(checkpoint: Path, keep: int) -> None:
    path = checkpoint / "model.safetensors"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(CheckpointError, match=r"model.safetensors: is truncated"):
        load_model(checkpoint, tiny_config())


def test_a_file_of_another_kind_is_rejected(checkpoint: Path) -> None:
    path = checkpoint / "model.safetensors"
    path.write_bytes((20).to_bytes(8, "little") + b"not a header at all." + bytes(100))
    with pytest.raises(CheckpointError, match="is not a safetensors file"):
        load_model(checkpoint, tiny_config())


def test_pickled_weights_are_never_looked_at(tmp_path: Path) -> None:
    (tmp_path / "pytorch_model.bin").write_bytes(b"x")
    with pytest.raises(CheckpointError, match=r"neither model.safetensors nor"):
        index_checkpoint(tmp_path)


def test_a_shard_outside_the_directory_is_rejected(tmp_path: Path) -> None:
    index = {"weight_map": {"a": "../elsewhere.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(CheckpointError, match="not a file beside it"):
        index_checkpoint(tmp_path)


def test_progress_runs_to_one(checkpoint: Path) -> None:
    seen: list[float] = []
    load_model(checkpoint, tiny_config(), progress=seen.append)
    assert seen == sorted(seen)
    assert seen[-1] == 1.0


def test_the_digest_tells_checkpoints_apart(tmp_path: Path) -> None:
    first = write_tiny_checkpoint(tmp_path / "a", seed=1)
    again = write_tiny_checkpoint(tmp_path / "b", seed=1)
    other = write_tiny_checkpoint(tmp_path / "c", seed=2)
    assert checkpoint_digest(first, {}) == checkpoint_digest(again, {})
    assert checkpoint_digest(first, {}) != checkpoint_digest(other, {})


@pytest.mark.parametrize(
    "name", ["eagle_config.json", "vocab.json", "merges.txt", "added_tokens.json"]
)
def test_the_digest_sees_every_file_of_the_vlm_wherever_it_lies(tmp_path: Path, name: str) -> None:
    checkpoint = write_tiny_checkpoint(tmp_path / "checkpoint")
    whole = open_checkpoint(checkpoint, TAG).digest()
    apart = tmp_path / "assets"
    apart.mkdir()
    for file in ("eagle_config.json", "vocab.json", "merges.txt", "added_tokens.json"):
        (checkpoint / file).rename(apart / file)
    assert open_checkpoint(checkpoint, TAG, backbone_assets=apart).digest() == whole
    comment = "#version: other\n" if name == "merges.txt" else "\n"
    (apart / name).write_text(comment + (apart / name).read_text())
    assert open_checkpoint(checkpoint, TAG, backbone_assets=apart).digest() != whole


def test_the_digest_sees_a_tokenizer_in_one_file(tmp_path: Path) -> None:
    assets = BackboneAssets(tmp_path / "config.json", tmp_path)
    for name in ("config.json", "vocab.json", "merges.txt", "tokenizer.json"):
        (tmp_path / name).write_text("{}")
    assert set(assets.files.values()) == {tmp_path / "config.json", tmp_path / "tokenizer.json"}
    before = checkpoint_digest(tmp_path, assets.files)
    (tmp_path / "tokenizer.json").write_text("{ }")
    assert checkpoint_digest(tmp_path, assets.files) != before


@pytest.mark.parametrize("limit", [None, 60_000])
def test_weights_may_be_read_by_whom_the_umask_lets(tmp_path: Path, limit: int | None) -> None:
    before = os.umask(0o027)
    try:
        save_model(build_model(tiny_config(), seed=0), tmp_path, max_shard_bytes=limit)
    finally:
        os.umask(before)
    weights = sorted(tmp_path.glob("*.safetensors"))
    assert (len(weights) > 1) == (limit is not None)
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o640}


def raw_safetensors(path: Path, entries: dict, data: bytes) -> None:
    header = json.dumps(entries).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + data)


def floats(begin: int, end: int) -> dict:
    return {"dtype": "F32", "shape": [(end - begin) // 4], "data_offsets": [begin, end]}


@pytest.mark.parametrize(
    ("entries", "size", "problem"),
    [
        ({"a": floats(0, 8), "b": floats(0, 8)}, 8, "'b' and 'a' share bytes"),
        ({"a": floats(0, 8), "b": floats(4, 12)}, 12, "'b' and 'a' share bytes"),
        ({"a": floats(0, 8), "b": floats(12, 20)}, 20, "4 bytes before 'b' are of no tensor"),
        ({"a": floats(0, 8)}, 11, "3 bytes after 'a' are of no tensor"),
        ({}, 5, "5 bytes after the header are of no tensor"),
        ({"a": {**floats(0, 8), "data_offsets": [0]}}, 8, "must be sizes"),
        ({"a": {**floats(0, 8), "data_offsets": [-8, 0]}}, 8, "must be sizes"),
    ],
)
def test_tensors_that_do_not_fill_their_file_are_rejected(
    tmp_path: Path, entries: dict, size: int, problem: str
) -> None:
    path = tmp_path / "model.safetensors"
    raw_safetensors(path, entries, bytes(size))
    with pytest.raises(CheckpointError, match=problem) as caught:
        read_header(path)
    assert str(caught.value).startswith(f"{path}: ")


@pytest.mark.parametrize("kind", [torch.int8, torch.uint8, torch.int64, torch.bool])
def test_weights_that_are_no_floating_point_numbers_are_rejected(
    checkpoint: Path, kind: torch.dtype
) -> None:
    change(checkpoint, lambda weights: weights.update({HEAD: weights[HEAD].to(kind)}))
    with pytest.raises(CheckpointError, match=f"'{HEAD}' is {str(kind)[6:]}; weights must be"):
        load_model(checkpoint, tiny_config())


@pytest.mark.parametrize("kind", [torch.float64, torch.float16, torch.bfloat16])
def test_weights_of_another_precision_are_read(checkpoint: Path, kind: torch.dtype) -> None:
    change(checkpoint, lambda weights: weights.update({HEAD: weights[HEAD].to(kind)}))
    assert load_model(checkpoint, tiny_config()).action_head.state_encoder.layer1.W.isfinite().all()


@pytest.mark.parametrize(
    ("shard", "problem"),
    [
        (3, "'a' must be a string, not 3"),
        ("model-00001.safetensors", "names 'model-00001.safetensors', which is not there"),
    ],
)
def test_a_wrong_entry_of_the_shard_index_names_the_index(
    tmp_path: Path, shard: object, problem: str
) -> None:
    path = tmp_path / "model.safetensors.index.json"
    path.write_text(json.dumps({"weight_map": {"a": shard}}))
    with pytest.raises(CheckpointError, match=problem) as caught:
        index_checkpoint(tmp_path)
    assert str(caught.value).startswith(f"{path}: ")
