# SPDX-License-Identifier: Apache-2.0
"""Digest of a checkpoint: the changes that affect it and those that do not."""

from pathlib import Path

import pytest
from support.tiny_checkpoint import TAG, write_tiny_checkpoint

from groot_ros.checkpoint.digest import checkpoint_digest
from groot_ros.checkpoint.locate import BackboneAssets
from groot_ros.families.gr00t_n1d6.checkpoint import open_checkpoint


def test_checkpoints_with_other_weights_have_other_digests(tmp_path: Path) -> None:
    first = write_tiny_checkpoint(tmp_path / "a", seed=1)
    again = write_tiny_checkpoint(tmp_path / "b", seed=1)
    other = write_tiny_checkpoint(tmp_path / "c", seed=2)
    assert checkpoint_digest(first, {}) == checkpoint_digest(again, {})
    assert checkpoint_digest(first, {}) != checkpoint_digest(other, {})


@pytest.mark.parametrize(
    "name", ["eagle_config.json", "vocab.json", "merges.txt", "added_tokens.json"]
)
def test_the_digest_depends_on_every_file_of_the_vlm_but_not_on_its_directory(
    tmp_path: Path, name: str
) -> None:
    checkpoint = write_tiny_checkpoint(tmp_path / "checkpoint")
    whole = open_checkpoint(checkpoint, TAG).digest()
    apart = tmp_path / "assets"
    apart.mkdir()
    for file in ("eagle_config.json", "vocab.json", "merges.txt", "added_tokens.json"):
        (checkpoint / file).rename(apart / file)
    assert open_checkpoint(checkpoint, TAG, apart).digest() == whole
    comment = "#version: other\n" if name == "merges.txt" else "\n"
    (apart / name).write_text(comment + (apart / name).read_text())
    assert open_checkpoint(checkpoint, TAG, apart).digest() != whole


def test_the_digest_depends_on_a_tokenizer_json(tmp_path: Path) -> None:
    assets = BackboneAssets(tmp_path / "config.json", tmp_path)
    for name in ("config.json", "vocab.json", "merges.txt", "tokenizer.json"):
        (tmp_path / name).write_text("{}")
    assert set(assets.files.values()) == {tmp_path / "config.json", tmp_path / "tokenizer.json"}
    before = checkpoint_digest(tmp_path, assets.files)
    (tmp_path / "tokenizer.json").write_text("{ }")
    assert checkpoint_digest(tmp_path, assets.files) != before
