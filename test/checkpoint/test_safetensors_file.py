# SPDX-License-Identifier: Apache-2.0
"""Safetensors files: reader compared with the library, shard index, and malformed files."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from support.tiny_checkpoint import write_tiny_checkpoint

from groot_ros.checkpoint.digest import file_sample
from groot_ros.checkpoint.safetensors_file import index_checkpoint, read_header
from groot_ros.core.config_reader import CheckpointError

HEAD = "action_head.state_encoder.layer1.W"


def test_the_reader_returns_what_the_library_returns(tmp_path: Path) -> None:
    path = write_tiny_checkpoint(tmp_path) / "model.safetensors"
    theirs = load_file(path)
    ours = read_header(path)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name].read(), theirs[name]) for name in theirs)
    assert torch.equal(ours[HEAD].read(3), theirs[HEAD][3:4])


def test_every_dtype_is_read(tmp_path: Path) -> None:
    path = tmp_path / "all.safetensors"
    kinds = (torch.bfloat16, torch.float16, torch.float64, torch.int64, torch.uint8, torch.bool)
    tensors = {str(kind): torch.arange(6).reshape(2, 3).to(kind) for kind in kinds}
    tensors["scalar"], tensors["empty"] = torch.tensor(1.5), torch.empty(0, 4)
    save_file(tensors, path)
    found = read_header(path)
    assert all(torch.equal(found[name].read(), tensors[name]) for name in tensors)


def test_pickled_weights_are_not_read(tmp_path: Path) -> None:
    (tmp_path / "pytorch_model.bin").write_bytes(b"x")
    with pytest.raises(CheckpointError, match=r"weights in PyTorch pickles \(pytorch_model.bin\)"):
        index_checkpoint(tmp_path)


def test_a_shard_outside_the_directory_is_rejected(tmp_path: Path) -> None:
    index = {"weight_map": {"a": "../elsewhere.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(CheckpointError, match="must be a file in the same directory"):
        index_checkpoint(tmp_path)


def write_safetensors(path: Path, entries: dict, data: bytes) -> None:
    header = json.dumps(entries).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + data)


def floats(begin: int, end: int) -> dict:
    return {"dtype": "F32", "shape": [(end - begin) // 4], "data_offsets": [begin, end]}


@pytest.mark.parametrize(
    ("entries", "size"),
    [
        ({"a": floats(0, 8), "b": floats(0, 8)}, 8),
        ({"a": floats(0, 8), "b": floats(4, 12)}, 12),
        ({"a": floats(0, 8), "b": floats(12, 20)}, 20),
        ({"a": floats(0, 8)}, 11),
        ({}, 5),
        ({"a": {**floats(0, 8), "data_offsets": [0]}}, 8),
        ({"a": {**floats(0, 8), "data_offsets": [-8, 0]}}, 8),
    ],
)
def test_tensors_that_overlap_or_do_not_fill_their_file_are_rejected(
    tmp_path: Path, entries: dict, size: int
) -> None:
    path = tmp_path / "model.safetensors"
    write_safetensors(path, entries, bytes(size))
    with pytest.raises(CheckpointError, match="download it again") as caught:
        read_header(path)
    assert str(caught.value).startswith(f"{path}: is truncated or not a safetensors file: ")


@pytest.mark.parametrize(
    ("shard", "problem"),
    [
        (3, "'a' must be a string, not 3"),
        ("model-00001.safetensors", "names 'model-00001.safetensors', which does not exist"),
    ],
)
def test_a_wrong_entry_of_the_shard_index_names_the_index_file(
    tmp_path: Path, shard: object, problem: str
) -> None:
    path = tmp_path / "model.safetensors.index.json"
    path.write_text(json.dumps({"weight_map": {"a": shard}}))
    with pytest.raises(CheckpointError, match=problem) as caught:
        index_checkpoint(tmp_path)
    assert str(caught.value).startswith(f"{path}: ")


def test_a_tensor_that_is_read_in_parts_is_the_same(tmp_path: Path) -> None:
    values = torch.arange(70 * 2**20 // 2, dtype=torch.int32).to(torch.int16).reshape(-1, 1024)
    path = tmp_path / "model.safetensors"
    save_file({"large": values}, path)
    assert torch.equal(read_header(path)["large"].read(), values)


def test_a_device_in_place_of_the_weights_is_rejected_without_reading_it(tmp_path: Path) -> None:
    path = write_tiny_checkpoint(tmp_path) / "model.safetensors"
    path.unlink()
    path.symlink_to("/dev/zero")
    message = "model.safetensors: is not a regular file"
    with pytest.raises(CheckpointError, match=message):
        index_checkpoint(path.parent)
    with pytest.raises(CheckpointError, match=message):
        file_sample(path)
