# SPDX-License-Identifier: Apache-2.0
"""processor_config.json and embodiment_id.json: defaults, embodiments and wrong values."""

import json
from pathlib import Path

import numpy as np
import pytest
from support.tiny_checkpoint import TAG, tiny_processor_config, tiny_statistics

from groot_ros.checkpoint.digest import checkpoint_digest
from groot_ros.core.config_reader import CheckpointError
from groot_ros.families.gr00t_n1d6.processor_config import ProcessorConfig, save_processor
from groot_ros.processing.statistics import Statistics


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    save_processor(tiny_processor_config(), tiny_statistics(), tmp_path)
    return tmp_path


def edit(path: Path, change) -> None:
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value))


def test_a_config_reads_back_as_it_was_written(directory: Path) -> None:
    assert ProcessorConfig.read(directory) == tiny_processor_config()


def test_statistics_read_back_as_they_were_written(directory: Path) -> None:
    found = Statistics.read(directory / "statistics.json", TAG)
    written = tiny_statistics()[TAG]["relative_action"]["single_arm"]["max"]
    np.testing.assert_array_equal(found.get("relative_action", "single_arm", "max"), written)
    assert found.width("state", "single_arm") == 5


def test_omitted_keys_take_the_defaults_of_the_reference(directory: Path) -> None:
    def strip(value: dict) -> None:
        kept = ("modality_configs", "use_albumentations")
        kwargs = value["processor_kwargs"]
        value["processor_kwargs"] = {key: kwargs[key] for key in kept}

    edit(directory / "processor_config.json", strip)
    found = ProcessorConfig.read(directory)
    assert (found.shortest_image_edge, found.crop_fraction) == (512, 0.95)
    assert (found.max_state_dim, found.max_action_horizon) == (29, 40)
    assert found.clip_outliers
    assert not found.use_relative_action


def test_a_null_image_edge_does_not_take_the_default(directory: Path) -> None:
    def null(value: dict) -> None:
        value["processor_kwargs"]["shortest_image_edge"] = None

    edit(directory / "processor_config.json", null)
    assert ProcessorConfig.read(directory).shortest_image_edge is None


def test_missing_embodiment_ids_are_taken_from_the_built_in_table(directory: Path) -> None:
    path = directory / "embodiment_id.json"
    path.write_text(json.dumps({"my_robot": 5, "gr1": 21}))
    ids = ProcessorConfig.read(directory).embodiment_ids
    assert (ids["my_robot"], ids["gr1"], ids["new_embodiment"]) == (5, 21, 10)
    path.unlink()
    assert ProcessorConfig.read(directory).embodiment_id("oxe_droid") == 16


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda k: k.update(use_albumentations=False), "'use_albumentations' is False"),
        (lambda k: k.pop("modality_configs"), "'modality_configs' is missing"),
        (lambda k: k["modality_configs"][TAG].pop("video"), f"{TAG}: 'video'|{TAG}.*'video'"),
        (lambda k: k["modality_configs"][TAG]["state"].update(delta_indices=[]), "is empty"),
        (
            lambda k: k["modality_configs"][TAG]["action"]["action_configs"].pop(),
            "'action_configs' has 1 entries for 2 groups",
        ),
        (
            lambda k: k["modality_configs"][TAG]["action"]["action_configs"][0].update(rep="X"),
            "'rep' must be one of RELATIVE, DELTA, ABSOLUTE, not 'X'",
        ),
        (lambda k: k.update(image_target_size=[1, 2, 3]), "'image_target_size' must be"),
    ],
)
def test_a_wrong_value_is_a_one_line_error_naming_file_and_key(directory, change, problem) -> None:
    path = directory / "processor_config.json"
    edit(path, lambda value: change(value["processor_kwargs"]))
    with pytest.raises(CheckpointError, match=problem) as caught:
        ProcessorConfig.read(directory).embodiment(TAG)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_another_processor_class_is_rejected(directory: Path) -> None:
    path = directory / "processor_config.json"
    edit(path, lambda value: value.update(processor_class="Gr00tN1d7Processor"))
    with pytest.raises(CheckpointError, match="only 'Gr00tN1d6Processor' is supported"):
        ProcessorConfig.read(directory)


@pytest.mark.parametrize("bad", [["x"], [[1.0], [1.0, 2.0]], [float("nan")], []])
def test_statistics_that_are_not_numbers_are_rejected(directory: Path, bad: list) -> None:
    path = directory / "statistics.json"
    edit(path, lambda value: value[TAG]["state"]["gripper"].update(min=bad))
    with pytest.raises(CheckpointError, match=r"state\.gripper: 'min' must be"):
        Statistics.read(path, TAG)


def test_statistics_without_the_tag_are_rejected(directory: Path) -> None:
    with pytest.raises(CheckpointError, match=r"statistics.json: 'gr1' is missing"):
        Statistics.read(directory / "statistics.json", "gr1")


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (
            lambda modes: modes["video"].update(modality_keys=["front", "front"]),
            "video: 'modality_keys' names front more than once",
        ),
        (
            lambda modes: modes["action"].update(modality_keys=["gripper", "gripper"]),
            "action: 'modality_keys' names gripper more than once",
        ),
        (
            lambda modes: modes["state"].update(modality_keys=[]),
            "state: 'modality_keys' is empty",
        ),
    ],
)
def test_groups_must_be_present_and_distinct(directory: Path, change, problem: str) -> None:
    path = directory / "processor_config.json"
    edit(path, lambda v: change(v["processor_kwargs"]["modality_configs"][TAG]))
    with pytest.raises(CheckpointError) as caught:
        ProcessorConfig.read(directory).embodiment(TAG)
    assert str(caught.value).startswith(f"{path}: ")
    assert str(caught.value).endswith(problem)


@pytest.mark.parametrize(("deltas", "spacing"), [([0, 1, 2], 1), ([4, 8, 12], 4), ([7], 1)])
def test_the_spacing_of_evenly_spaced_actions_is_read(
    directory: Path, deltas, spacing: int
) -> None:
    def change(value: dict) -> None:
        value["processor_kwargs"]["modality_configs"][TAG]["action"]["delta_indices"] = deltas

    edit(directory / "processor_config.json", change)
    assert ProcessorConfig.read(directory).action_spacing(TAG) == spacing


@pytest.mark.parametrize("deltas", [[0, 1, 3], [3, 2, 1], [0, 0]])
def test_unevenly_spaced_actions_are_rejected(directory: Path, deltas: list[int]) -> None:
    path = directory / "processor_config.json"

    def change(value: dict) -> None:
        value["processor_kwargs"]["modality_configs"][TAG]["action"]["delta_indices"] = deltas

    edit(path, change)
    with pytest.raises(CheckpointError) as caught:
        ProcessorConfig.read(directory).action_spacing(TAG)
    assert str(caught.value) == (
        f"{path}: the action's 'delta_indices' {deltas} of '{TAG}' are not evenly spaced: "
        "a chunk has one time step"
    )


def test_a_wrong_tag_is_an_error_with_the_file_and_the_valid_tags(directory: Path) -> None:
    with pytest.raises(CheckpointError) as caught:
        ProcessorConfig.read(directory).embodiment("r2d2")
    assert str(caught.value) == (
        f"{directory / 'processor_config.json'}: 'modality_configs' has no embodiment 'r2d2' "
        f"(valid: {TAG})"
    )


def test_json_that_is_nested_too_deeply_is_a_one_line_error(directory: Path) -> None:
    path = directory / "processor_config.json"
    path.write_text("[" * 100_000, encoding="utf-8")
    with pytest.raises(CheckpointError, match="is not valid JSON: nested too deeply"):
        ProcessorConfig.read(directory)


def test_errors_about_embodiment_ids_name_the_file_or_the_built_in_table(directory: Path) -> None:
    config = ProcessorConfig.read(directory)
    path = directory / "embodiment_id.json"
    assert config.ids_from(TAG) == f"{path}, or the built-in table"
    with pytest.raises(CheckpointError, match=f"^{path}: has no embodiment 'mine'"):
        config.embodiment_id("mine")
    path.unlink()
    bare = ProcessorConfig.read(directory)
    source = f"the built-in table of embodiments (there is no {path})"
    assert bare.ids_from(TAG) == source
    with pytest.raises(CheckpointError, match="has no embodiment 'mine'") as caught:
        bare.embodiment_id("mine")
    assert str(caught.value).startswith(f"{source}: ")


@pytest.mark.parametrize("content", [{"video": "new format"}, [1, 2], None, {"version": 7}])
def test_an_embodiment_in_another_format_does_not_block_the_others(
    directory: Path, content: object
) -> None:
    path = directory / "processor_config.json"
    edit(path, lambda v: v["processor_kwargs"]["modality_configs"].update(other=content))
    config = ProcessorConfig.read(directory)
    assert config.embodiment(TAG).state.modality_keys == ("single_arm", "gripper")
    assert config.tags == (TAG, "other")
    with pytest.raises(CheckpointError, match=r"modality_configs.*other"):
        config.embodiment("other")


def test_a_row_that_is_not_a_number_blocks_its_own_embodiment_only(directory: Path) -> None:
    edit(directory / "embodiment_id.json", lambda value: value.update(other="twelve"))
    assert ProcessorConfig.read(directory).embodiment_id(TAG) == 10
    edit(directory / "embodiment_id.json", lambda value: value.update({TAG: "ten"}))
    with pytest.raises(CheckpointError, match=rf"'{TAG}' must be a whole number >= 0, not 'ten'"):
        ProcessorConfig.read(directory).embodiment(TAG)


def test_a_processor_in_its_own_folder_is_read_and_gives_the_same_digest(directory: Path) -> None:
    before = ProcessorConfig.read(directory), checkpoint_digest(directory, {})
    (directory / "processor").mkdir()
    for name in ("processor_config.json", "statistics.json", "embodiment_id.json"):
        (directory / name).rename(directory / "processor" / name)
    assert (ProcessorConfig.read(directory), checkpoint_digest(directory, {})) == before
    (directory / "processor" / "statistics.json").write_text("{}")
    assert checkpoint_digest(directory, {}) != before[1]
