# SPDX-License-Identifier: Apache-2.0
"""Statistics: read from a file, rejected values, and the trained range."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.tiny_checkpoint import TAG, tiny_processor_config, tiny_statistics

from groot_ros.core.config_reader import CheckpointError, Fields
from groot_ros.processing.state_action import StateActionCodec
from groot_ros.processing.statistics import Statistics


def content_of_file() -> dict:
    return json.loads(json.dumps(tiny_statistics(), default=lambda array: array.tolist()))


def write(directory: Path, content: dict) -> Path:
    path = directory / "statistics.json"
    path.write_text(json.dumps(content))
    return path


@pytest.mark.parametrize(
    ("modality", "group", "changes", "problem"),
    [
        ("state", "gripper", {"min": [70.29], "max": [3.168]}, "'min' is 70.29, above 'max' 3.168"),
        ("action", "gripper", {"min": [2], "max": [1]}, "'min' is 2, above 'max' 1, in column 0"),
        (
            "state",
            "single_arm",
            {"q99": [1, 1, -91, 1, 1]},
            "'q01' is -90, above 'q99' -91, in",
        ),
        ("action", "gripper", {"std": [-0.5]}, "'std' is -0.5, below 0, in column 0"),
        ("action", "gripper", {"min": [0, 0]}, r"'min' is \[2\], 'max' \[1\]"),
        ("state", "gripper", {"min": [-(10**400)]}, "'min' must be a list of numbers"),
    ],
)
def test_a_minimum_above_the_maximum_names_file_group_and_column(
    tmp_path: Path, modality: str, group: str, changes: dict, problem: str
) -> None:
    content = content_of_file()
    content[TAG][modality][group] |= changes
    path = write(tmp_path, content)
    with pytest.raises(CheckpointError, match=problem) as caught:
        Statistics.read(path, TAG)
    assert str(caught.value).startswith(f"{path}: {TAG}.{modality}.{group}: ")


def test_a_wrong_step_of_relative_actions_names_step_and_column(tmp_path: Path) -> None:
    content = content_of_file()
    content[TAG]["relative_action"]["single_arm"]["max"][3][1] = -21.0
    with pytest.raises(CheckpointError, match="'min' is -20, above 'max' -21, in step 3, column 1"):
        Statistics.read(write(tmp_path, content), TAG)


def test_only_the_requested_embodiment_is_checked(tmp_path: Path) -> None:
    content = content_of_file()
    content["other"] = {"state": {"a": {"min": [1], "max": [0]}}}
    assert Statistics.read(write(tmp_path, content), TAG).width("state", "gripper") == 1


@given(st.floats(-1e6, 1e6), st.floats(0.0, 1e6))
def test_every_range_including_an_empty_one_is_accepted(low: float, width: float) -> None:
    for high in (low, low + width):
        found = _read({"min": [low], "max": [high], "std": [0.0]})
        assert found.get("state", "a", "max") == [high]


def test_a_maximum_below_the_minimum_by_rounding_is_accepted() -> None:
    below = float(np.nextafter(0.3, 0.0))
    assert _read({"min": [0.3], "max": [below]}).get("state", "a", "max") == [below]


def _read(group: dict) -> Statistics:
    return Statistics.parse(Fields({"state": {"a": group}}, "x: tag"))


def test_the_trained_range_is_that_of_the_statistics_used_to_normalise(tmp_path: Path) -> None:
    content = content_of_file()
    content[TAG]["action"]["gripper"] |= {"q01": [5.0], "q99": [95.0]}
    content[TAG]["relative_action"]["single_arm"]["max"][2] = [30.0] * 5
    statistics = Statistics.read(write(tmp_path, content), TAG)
    config = tiny_processor_config(use_percentiles=True)
    codec = StateActionCodec(config.codec(), config.embodiment(TAG), statistics)
    assert [end.tolist() for end in codec.trained_range("action", "gripper", statistics)] == [
        [5.0],
        [95.0],
    ]
    low, high = codec.trained_range("action", "single_arm", statistics)
    assert (low.tolist(), high.tolist()) == ([-20.0] * 5, [30.0] * 5)
