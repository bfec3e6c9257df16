# SPDX-License-Identifier: Apache-2.0
"""The registry of model families: lookup by name and by checkpoint, and registered families."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from support.tiny_checkpoint import write_tiny_checkpoint

from groot_ros.core.config_reader import CheckpointError
from groot_ros.families import registry
from groot_ros.families.registry import family_names, find_family, get_family


class EntryPoint:
    """Entry point of a family that another package registers; `load` returns its module."""

    name, value = "other", "other_package.family"

    def __init__(self, module: object) -> None:
        self.module = module

    def load(self) -> object:
        if isinstance(self.module, Exception):
            raise self.module
        return self.module


@pytest.fixture
def register(monkeypatch: pytest.MonkeyPatch):
    """Return a function that registers a module as family "other"."""
    get_family.cache_clear()

    def add(module: object) -> None:
        monkeypatch.setattr(registry, "entry_points", lambda group: [EntryPoint(module)])

    yield add
    get_family.cache_clear()


def other_family(recognises: bool) -> SimpleNamespace:
    family = SimpleNamespace(
        name="other", recognised_by="other.bin", matches=lambda path: recognises
    )
    return SimpleNamespace(FAMILY=family)


def test_a_checkpoint_is_found_by_its_model_type(tmp_path: Path) -> None:
    assert find_family(write_tiny_checkpoint(tmp_path)).name == "gr00t_n1d6"


def test_a_registered_family_is_found(tmp_path: Path, register) -> None:
    register(other_family(recognises=True))
    assert family_names() == (*registry.BUILTIN, "other")
    assert find_family(tmp_path / "weights.bin").name == "other"


def test_a_checkpoint_of_two_families_is_rejected_with_both_names(tmp_path: Path, register) -> None:
    register(other_family(recognises=True))
    with pytest.raises(CheckpointError, match=r"several model families .*: gr00t_n1d6, other$"):
        find_family(write_tiny_checkpoint(tmp_path))


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "{path}: no model family recognises it"),
        ({}, "{path}/config.json: no model family recognises it"),
        ({"model_type": "bert"}, "{path}/config.json: 'model_type' is 'bert': no model family"),
        ({"type": "pi0"}, "{path}/config.json: 'type' is 'pi0': no model family"),
    ],
)
def test_an_unknown_checkpoint_is_an_error_with_all_that_was_looked_for(
    tmp_path: Path, register, content: dict | None, problem: str
) -> None:
    register(other_family(recognises=False))
    (tmp_path / "notes.txt").touch()
    if content is not None:
        (tmp_path / "config.json").write_text(json.dumps(content))
    with pytest.raises(CheckpointError) as caught:
        find_family(tmp_path)
    message = str(caught.value)
    assert message.startswith(problem.format(path=tmp_path))
    looked_for = (
        "gr00t_n1d5: config.json with 'model_type' gr00t_n1_5 or 'type' groot; "
        "gr00t_n1d6: config.json with 'model_type' Gr00tN1d6; "
        "vima: config.json with 'model_type' vima, or a .ckpt file; other: other.bin"
    )
    assert message.endswith(f"looked for {looked_for}")


def test_a_malformed_config_is_an_error_with_the_place(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"config.json: is not valid JSON: .*line 1"):
        find_family(tmp_path)


def test_an_unknown_name_is_an_error_with_the_valid_ones() -> None:
    with pytest.raises(ValueError, match=r"gr00t_n1d5, gr00t_n1d6.*, not 'gr00t_n0'"):
        get_family("gr00t_n0")


@pytest.mark.parametrize("module", [ImportError("no module named x"), SimpleNamespace()])
def test_a_registered_family_that_does_not_load_is_an_error_naming_its_module(
    register, module: object
) -> None:
    register(module)
    with pytest.raises(ValueError, match=r"'other' \(other_package.family\) does not load: "):
        get_family("other")


def test_a_file_of_a_checkpoint_asks_for_its_directory(tmp_path):
    file = tmp_path / "config.json"
    file.write_text("{}")
    with pytest.raises(CheckpointError, match="is a file of a checkpoint; give its directory"):
        find_family(file)
