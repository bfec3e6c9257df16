# SPDX-License-Identifier: Apache-2.0
"""Damaged data sets: each defect is one line that names the file."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from groot_ros.datasets import DatasetError
from groot_ros.datasets.reader import Dataset
from groot_ros.robot import ContractError

ROWS = Path("data/chunk-000/episode_000001.parquet")


def with_column(path: Path, name: str, row: Any) -> None:
    table = pq.read_table(path / ROWS)
    column = pa.array([row] * table.num_rows)
    pq.write_table(table.set_column(table.column_names.index(name), name, column), path / ROWS)


def edit(path: Path, name: str, change: Callable[[dict[str, Any]], Any]) -> None:
    file = path / "meta" / name
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ([1.0] * 7, "has 7 values in each row, but meta/info.json states 6"),
        ([1.0] * 5, "has 5 values in each row, but meta/info.json states 6"),
        (1.0, "has 1 values in each row, but meta/info.json states 6"),
        (["a"] * 6, "is not numeric: could not convert string to float"),
    ],
)
def test_states_that_are_not_those_of_the_description_are_refused(
    copy: Path, row: Any, problem: str
) -> None:
    with_column(copy, "observation.state", row)
    with pytest.raises(DatasetError, match=f"{ROWS}: column 'observation.state' {problem}"):
        Dataset(copy).episodes[1].group("state", "gripper")


@pytest.mark.parametrize("row", [0.5, "x", None])
def test_an_instruction_that_is_no_whole_number_is_refused(copy: Path, row: Any) -> None:
    with_column(copy, "task_index", row)
    with pytest.raises(DatasetError, match="'task_index' must have a whole number in each row"):
        Dataset(copy).episodes[1].instructions()


def test_an_instruction_may_be_stored_as_a_float(copy: Path) -> None:
    expected = Dataset(copy).episodes[1].instructions()[0]
    number = pq.read_table(copy / ROWS)["task_index"][0].as_py()
    with_column(copy, "task_index", np.float64(number))
    assert Dataset(copy).episodes[1].instructions()[0] == expected


def test_an_episode_without_rows_is_refused(copy: Path) -> None:
    pq.write_table(pq.read_table(copy / ROWS).slice(0, 0), copy / ROWS)
    with pytest.raises(DatasetError, match=f"{ROWS} has no rows"):
        Dataset(copy).episodes[1].group("state", "gripper")


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        ({"end": 9}, "is columns 5 to 9 of 'observation.state', which has 6"),
        ({"start": -1}, "is columns -1 to 6 of 'observation.state', which has 6"),
        ({"end": 5}, "is columns 5 to 5 of 'observation.state', which has 6"),
        ({"end": "x"}, "needs whole numbers 'start' and 'end'"),
        ({"original_key": "x"}, "is of 'x', which meta/info.json does not have"),
    ],
)
def test_a_group_that_is_not_part_of_a_column_is_refused(
    copy: Path, entry: dict[str, Any], problem: str
) -> None:
    edit(copy, "modality.json", lambda modality: modality["state"]["gripper"].update(entry))
    with pytest.raises(DatasetError, match=f"meta/modality.json: state group 'gripper' {problem}"):
        Dataset(copy).group_slice("state", "gripper")


@pytest.mark.parametrize(
    ("file", "values", "problem"),
    [
        ("info.json", {"fps": 0}, "info.json: fps must be positive, not 0"),
        ("info.json", {"fps": float("nan")}, "info.json: fps must be positive, not nan"),
        ("info.json", {"features": None}, "meta is damaged: AttributeError"),
        ("modality.json", {"state": ["gripper"]}, "modality.json: 'state' is not an object"),
    ],
)
def test_damaged_metadata_are_refused(
    copy: Path, file: str, values: dict[str, Any], problem: str
) -> None:
    edit(copy, file, lambda content: content.update(values))
    with pytest.raises(DatasetError, match=problem):
        Dataset(copy)


def test_an_episode_that_is_listed_twice_is_refused(copy: Path) -> None:
    file = copy / "meta" / "episodes.jsonl"
    file.write_text(file.read_text() + file.read_text().splitlines()[1] + "\n")
    with pytest.raises(DatasetError, match=r"episodes.jsonl has episode 1 2 times"):
        Dataset(copy)


def test_a_damaged_contract_is_one_line(copy: Path) -> None:
    edit(copy, "groot_ros.json", lambda content: content.update(contract="a: ["))
    with pytest.raises(ContractError, match=r"^meta/groot_ros.json: its contract is damaged: .*$"):
        Dataset(copy).description.robot_contract()
