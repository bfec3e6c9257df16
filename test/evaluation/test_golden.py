# SPDX-License-Identifier: Apache-2.0
"""Comparison with an earlier evaluation: what counts as a difference, and what the message says."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from groot_ros.evaluation.golden import compare_with_golden, read_golden

RESULT: dict[str, Any] = {
    "format": 1,
    "settings": {"seeds": [0], "interval": 0.2},
    "policies": [
        {
            "episodes": [
                {
                    "name": "run1",
                    "joints": ["pan", "lift"],
                    "chunks": {
                        "numbers": [0, 1, 3],
                        "times": [0.1, 0.3, 0.7],
                        "predicted": [[[0.0, 0.0] for _ in range(4)] for _ in range(3)],
                    },
                }
            ]
        }
    ],
}


def changed(path: list, value: object) -> dict[str, Any]:
    """Return the result with another value at a path of keys."""
    result = copy.deepcopy(RESULT)
    at: Any = result
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = value
    return result


EPISODE = ["policies", 0, "episodes", 0]


def problems(result: dict[str, Any], tolerance: float = 0.01) -> str:
    return "\n".join(compare_with_golden(result, RESULT, tolerance).problems)


def test_an_equal_result_is_equal() -> None:
    found = compare_with_golden(RESULT, RESULT, 0.0)
    assert (found.problems, found.places, found.largest) == ((), 3, 0.0)


def test_a_difference_is_reported_with_its_joint_and_place() -> None:
    result = changed([*EPISODE, "chunks", "predicted", 2, 1], [0.0, 0.02])
    assert problems(result) == (
        "1 of 3 chunks differ by more than 0.01, most by 0.020000 (joint 'lift', step 1 of the "
        "chunk at 0.700 s of 'run1')"
    )
    assert problems(result, tolerance=0.02) == ""


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        (["settings", "seeds"], [0, 1], "other settings than the golden evaluation: seeds"),
        (["policies"], [], "0 policies, the golden evaluation has 1"),
        ([*EPISODE, "name"], "run2", "episode 'run1' was not evaluated"),
        ([*EPISODE, "joints"], ["pan", "roll"], "joints ['pan', 'roll'], expected"),
        ([*EPISODE, "chunks", "numbers"], [0, 1, 2], "interval 2 has a chunk, unlike"),
        ([*EPISODE, "chunks", "numbers"], [0, 3], "interval 1 has no chunk, unlike"),
        ([*EPISODE, "chunks", "predicted"], [[[0.0, 0.0]] * 3] * 3, "chunks of shape [3, 3, 2]"),
    ],
)
def test_another_structure_is_a_difference(path: list, value: object, expected: str) -> None:
    assert expected in problems(changed(path, value))


def test_an_episode_more_is_a_difference() -> None:
    more = changed(["policies", 0, "episodes"], [*RESULT["policies"][0]["episodes"]] * 2)
    more["policies"][0]["episodes"][1] = {**more["policies"][0]["episodes"][0], "name": "run2"}
    assert problems(more) == "episode 'run2' is not in the golden evaluation"


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 0, "policies": []}'])
def test_a_file_that_is_no_evaluation_is_an_error_that_names_the_command(
    tmp_path: Path, text: str
) -> None:
    file = tmp_path / "golden.json"
    file.write_text(text)
    with pytest.raises(ValueError, match=r"is not an evaluation of format 1: write it with"):
        read_golden(file)
    file.write_text(json.dumps(RESULT))
    assert read_golden(file) == RESULT
