# SPDX-License-Identifier: Apache-2.0
"""Each defect of a data set is found, with its place and what to do about it."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from groot_ros.datasets import DatasetError
from groot_ros.datasets.check import Finding, check_dataset
from groot_ros.datasets.features import to_array
from groot_ros.datasets.reader import Dataset
from groot_ros.datasets.video import VideoEncoder, decode_frames

ROWS = "data/chunk-000/episode_000001.parquet"
VIDEO = "videos/chunk-000/observation.images.front/episode_000001.mp4"


def check(path: Path) -> list[Finding]:
    return check_dataset(path, jobs=1)


def set_column(path: Path, name: str, change: Callable[[np.ndarray], np.ndarray]) -> None:
    """Change the values of a column of episode 1."""
    table = pq.read_table(path / ROWS)
    kind = table.schema.field(name).type
    values = change(to_array(table[name]).copy())
    if pa.types.is_fixed_size_list(kind):
        column = pa.FixedSizeListArray.from_arrays(values.reshape(-1), kind.list_size)
    else:
        column = pa.array(values, kind)
    position = table.column_names.index(name)
    pq.write_table(table.set_column(position, name, column), path / ROWS)


def edit_json(file: Path, change: Callable[[dict], object]) -> None:
    value = json.loads(file.read_text())
    change(value)
    file.write_text(json.dumps(value))


def late(values: np.ndarray) -> np.ndarray:
    values[5:] += 0.02
    return values


def not_finite(values: np.ndarray) -> np.ndarray:
    values[7, 2] = np.nan
    return values


def larger(values: np.ndarray) -> np.ndarray:
    values[3, 1] += 40.0
    return values


def still_at_first(values: np.ndarray) -> np.ndarray:
    values[:35] = values[0]
    return values


def shorten_video(path: Path) -> None:
    frames = list(decode_frames(path / VIDEO))
    encoder = VideoEncoder(path / VIDEO, 30)
    for rgb in frames[:-2]:
        encoder.add_frame(rgb)
    encoder.close()


def copy_state_to_action(path: Path) -> None:
    state = to_array(pq.read_table(path / ROWS)["observation.state"])
    set_column(path, "action", lambda _: state)


DEFECTS = {
    "a time stamp": (
        lambda path: set_column(path, "timestamp", late),
        "error: episode 1, row 5: its time differs from 5/30 s by 0.0200 s: rewrite it with",
    ),
    "a value that is not finite": (
        lambda path: set_column(path, "action", not_finite),
        "error: episode 1, row 7: 'action' is not finite: convert it again",
    ),
    "old statistics": (
        lambda path: set_column(path, "observation.state", larger),
        "error: meta/stats.json: column 1 of 'observation.state' is from",
    ),
    "a wrong index": (
        lambda path: set_column(path, "episode_index", lambda values: values + 1),
        "error: episode 1: column 'episode_index' does not count as it should: rewrite it with",
    ),
    "rest at the start": (
        lambda path: set_column(path, "action", still_at_first),
        "warning: episode 1: nothing is commanded in its first 1.2 s, and policies learn to stay",
    ),
    "frames that are missing": (
        shorten_video,
        "error: episode 1, observation.images.front: the video has 44 frames for 46 rows: convert",
    ),
    "a video that is missing": (
        lambda path: (path / VIDEO).unlink(),
        "error: episode 1, observation.images.front: ",
    ),
    "actions that are states": (
        copy_state_to_action,
        "warning: episode 1: every action is the state of the same row, which trains a robot",
    ),
    "rows that are missing": (
        lambda path: (path / ROWS).unlink(),
        "error: episode 1: ",
    ),
    "no modality.json": (
        lambda path: (path / "meta" / "modality.json").unlink(),
        "error: meta/modality.json: is missing, GR00T needs it: write one",
    ),
    "no statistics": (
        lambda path: (path / "meta" / "stats.json").unlink(),
        "warning: meta/stats.json: is missing; GR00T computes it",
    ),
    "a group beyond the columns": (
        lambda path: edit_json(
            path / "meta" / "modality.json", lambda v: v["action"]["gripper"].update(end=9)
        ),
        "error: meta/modality.json: action group 'gripper' is columns 5 to 9 of 'action', which "
        "has 6: correct",
    ),
    "a view without a camera": (
        lambda path: edit_json(
            path / "meta" / "modality.json", lambda v: v["video"].update(top={"original_key": "x"})
        ),
        "error: meta/modality.json: ",
    ),
    "a wrong total": (
        lambda path: edit_json(path / "meta" / "info.json", lambda v: v.update(total_frames=5)),
        "error: meta/info.json: total_frames is 5, counted are",
    ),
    "another rate": (
        lambda path: edit_json(path / "meta" / "info.json", lambda v: v.update(fps=15)),
        "warning: meta/info.json: fps is 15, but action_dt of the robot contract is 0.0333333 s, "
        "30.0 Hz; GR00T counts rows and ignores fps: set action_dt to 0.0666667",
    ),
    "a contract that cannot be read": (
        lambda path: edit_json(
            path / "meta" / "groot_ros.json", lambda v: v.update(contract="robot: x")
        ),
        "warning: meta/groot_ros.json: ",
    ),
    "an empty instruction": (
        lambda path: (path / "meta" / "tasks.jsonl").write_text(
            (path / "meta" / "tasks.jsonl").read_text().replace("touch the red cube", "")
        ),
        "error: meta/tasks.jsonl: an instruction is empty: write what the robot does",
    ),
}


def test_a_converted_data_set_has_no_findings(made) -> None:
    assert check(made.path) == []


@pytest.mark.parametrize("defect", DEFECTS)
def test_a_defect_is_found_with_its_place_and_a_remedy(defect: str, copy: Path) -> None:
    damage, expected = DEFECTS[defect]
    damage(copy)
    findings = [str(finding) for finding in check(copy)]
    assert any(line.startswith(expected) for line in findings), findings
    assert all(finding.count(": ") >= 3 for finding in findings)


def test_an_episode_shorter_than_the_horizon_is_reported(made) -> None:
    findings = check_dataset(made.path, horizon=50, jobs=1)
    assert "fewer than the horizon of 50" in findings[0].what


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("info.json", "{", "info.json is damaged"),
        ("info.json", '{"codebase_version": "v1.0"}', "of version v1.0"),
        ("info.json", '{"codebase_version": "v2.1"}', "is damaged: KeyError"),
        ("tasks.jsonl", None, "has no meta/tasks.jsonl"),
        ("episodes.jsonl", '{"episode_index": "x"}', "is damaged"),
    ],
)
def test_metadata_that_cannot_be_read_is_an_error_with_the_file(
    name: str, content: str | None, problem: str, copy: Path
) -> None:
    file = copy / "meta" / name
    if content is None:
        file.unlink()
    else:
        file.write_text(content)
    with pytest.raises(DatasetError, match=problem):
        check(copy)


def test_a_group_or_view_that_is_missing_is_named_with_those_that_exist(made) -> None:
    dataset = Dataset(made.path)
    with pytest.raises(DatasetError, match="no state group 'legs': it has single_arm, gripper"):
        dataset.episodes[0].group("state", "legs")
    with pytest.raises(DatasetError, match="no view 'top': it has front, wrist"):
        next(dataset.episodes[0].frames("top"))
