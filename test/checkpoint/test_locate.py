# SPDX-License-Identifier: Apache-2.0
"""Search for checkpoints and the VLM's files, and errors if they are missing."""

from pathlib import Path

import pytest

from groot_ros.checkpoint.locate import find_backbone_assets, find_checkpoint, hub_cache
from groot_ros.core.config_reader import CheckpointError
from groot_ros.processing.tokenizer import write_byte_tokenizer

VLM = "nvidia/Eagle-Block2A-2B-v2"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("HUGGINGFACE_HUB_CACHE", raising=False)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def snapshot(cache: Path, name: str, revision: str = "abc") -> Path:
    repository = cache / f"models--{name.replace('/', '--')}"
    directory = repository / "snapshots" / revision
    directory.mkdir(parents=True)
    (repository / "refs").mkdir(exist_ok=True)
    (repository / "refs" / "main").write_text(revision)
    return directory


def vlm_files(directory: Path, config: str = "config.json") -> Path:
    write_byte_tokenizer(directory)
    (directory / config).write_text("{}")
    return directory


def test_a_directory_is_used_as_given(tmp_path: Path) -> None:
    assert find_checkpoint(tmp_path) == tmp_path


def test_a_hub_id_is_resolved_to_its_main_snapshot(cache: Path) -> None:
    snapshot(cache, "nvidia/GR00T-N1.6-3B", "old")
    newest = snapshot(cache, "nvidia/GR00T-N1.6-3B", "new")
    assert find_checkpoint("nvidia/GR00T-N1.6-3B") == newest


def test_a_missing_hub_id_names_the_download_command() -> None:
    with pytest.raises(CheckpointError, match=r"hf download nvidia/GR00T-N1\.6-3B"):
        find_checkpoint("nvidia/GR00T-N1.6-3B")


@pytest.mark.parametrize("name", ["no/such/place", "/nowhere", "./nowhere", "nowhere"])
def test_a_missing_directory_is_not_treated_as_a_hub_id(name: str) -> None:
    with pytest.raises(CheckpointError, match=f"checkpoint {name}: no such directory"):
        find_checkpoint(name)


def test_the_hub_cache_follows_the_environment_variables_of_the_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HF_HUB_CACHE")
    monkeypatch.delenv("HF_HOME", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert hub_cache() == tmp_path / "cache" / "huggingface" / "hub"
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    assert hub_cache() == tmp_path / "home" / "hub"


def test_files_in_the_checkpoint_take_precedence(tmp_path: Path) -> None:
    own = vlm_files(tmp_path / "checkpoint", "eagle_config.json")
    other = vlm_files(tmp_path / "other")
    found = find_backbone_assets(own, other, VLM)
    assert (found.config, found.tokenizer) == (own / "eagle_config.json", own)


def test_a_missing_assets_directory_is_an_error_even_if_not_needed(tmp_path: Path) -> None:
    own = vlm_files(tmp_path / "checkpoint", "eagle_config.json")
    with pytest.raises(CheckpointError, match="backbone_assets /nowhere: no such directory"):
        find_backbone_assets(own, "/nowhere", VLM)
    # A hub id may be configured for all robots, although only some checkpoints need it.
    assert find_backbone_assets(own, "some/vlm", VLM).tokenizer == own


def test_the_config_json_of_the_checkpoint_is_not_used_as_that_of_the_vlm(tmp_path: Path) -> None:
    own = tmp_path / "checkpoint"
    own.mkdir()
    (own / "config.json").write_text("{}")
    other = vlm_files(tmp_path / "other")
    found = find_backbone_assets(own, other, VLM)
    assert (found.config, found.tokenizer) == (other / "config.json", other)


def test_without_backbone_assets_the_hub_id_of_the_vlm_is_tried(
    cache: Path, tmp_path: Path
) -> None:
    other = vlm_files(snapshot(cache, VLM))
    assert find_backbone_assets(tmp_path, None, VLM).tokenizer == other


def test_missing_files_are_a_one_line_error_that_names_files_and_source(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError) as caught:
        find_backbone_assets(tmp_path, None, VLM)
    message = str(caught.value)
    assert "\n" not in message
    folder = f"gr00t/model/modules/{VLM} of the Isaac-GR00T sources"
    for part in (str(tmp_path), folder, "vocab.json", "eagle_config.json", "backbone_assets"):
        assert part in message


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "merges.txt"])
def test_an_unreadable_file_is_named_with_a_fix(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / name).touch()
    (tmp_path / "notes.txt").mkdir()
    assert find_checkpoint(tmp_path) == tmp_path
    opened = Path.open

    def reject(path: Path, mode: str):
        if path.name == name:
            raise PermissionError(13, "Permission denied", str(path))
        return opened(path, mode)

    monkeypatch.setattr(Path, "open", reject)
    with pytest.raises(CheckpointError, match="Permission denied; let this user read it") as caught:
        find_checkpoint(tmp_path)
    assert str(caught.value).startswith(f"{tmp_path / name}: cannot be read: ")
