# SPDX-License-Identifier: Apache-2.0
"""Compare an evaluation with an earlier one, as a regression test of a policy."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from groot_ros.evaluation.offline import FORMAT


@dataclass(frozen=True)
class GoldenComparison:
    """Result of a comparison.

    Attributes:
        places: number of places that were compared.
        largest: largest difference of a prediction, rad or m.
        where: joint and place of the largest difference.
        problems: why the evaluations do not agree, one line each; empty if they do.

    """

    places: int
    largest: float
    where: str
    problems: tuple[str, ...]


def read_golden(path: Path) -> dict[str, Any]:
    """Read a file that `groot-ros evaluate --json` wrote.

    Raises:
        ValueError: it is not such a file.

    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["format"] != FORMAT or not isinstance(content["policies"], list):
            raise KeyError("format")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"--golden {path} cannot be read: {error}") from error
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise ValueError(
            f"--golden {path} is not an evaluation of format {FORMAT}: write it with "
            f"groot-ros evaluate ... --json {path}"
        ) from error
    return dict(content)


def compare_with_golden(
    result: Mapping[str, Any], golden: Mapping[str, Any], tolerance: float
) -> GoldenComparison:
    """Compare the predictions of the first seed at every place.

    Args:
        result: of this evaluation.
        golden: of the earlier one.
        tolerance: largest permitted difference, rad or m.

    """
    problems: list[str] = []
    if result["settings"] != golden["settings"]:
        other = {
            key
            for key in result["settings"].keys() | golden["settings"].keys()
            if result["settings"].get(key) != golden["settings"].get(key)
        }
        problems.append(f"other settings than the golden evaluation: {', '.join(sorted(other))}")
    if len(result["policies"]) != len(golden["policies"]):
        problems.append(
            f"{len(result['policies'])} policies, the golden evaluation has "
            f"{len(golden['policies'])}"
        )
    places, largest, where, beyond = 0, 0.0, "nowhere", 0
    for policy, before in zip(result["policies"], golden["policies"], strict=False):
        episodes = {episode["name"]: episode for episode in policy["episodes"]}
        for expected in before["episodes"]:
            name = expected["name"]
            if name not in episodes:
                problems.append(f"episode '{name}' was not evaluated")
                continue
            found = episodes.pop(name)
            if problem := _structure_problem(found, expected):
                problems.append(f"episode '{name}': {problem}")
                continue
            difference = np.abs(
                np.array(found["chunks"]["predicted"]) - np.array(expected["chunks"]["predicted"])
            )
            places += len(difference)
            beyond += int((difference > tolerance).any(axis=(1, 2)).sum())
            if difference.size and (where == "nowhere" or difference.max() > largest):
                largest = float(difference.max())
                index = np.unravel_index(difference.argmax(), difference.shape)
                place, step, joint = (int(i) for i in index)
                time = found["chunks"]["times"][place]
                where = (
                    f"joint '{found['joints'][joint]}', step {step} of the chunk at {time:.3f} s "
                    f"of '{name}'"
                )
        problems += [f"episode '{name}' is not in the golden evaluation" for name in episodes]
    if beyond:
        problems.append(
            f"{beyond} of {places} chunks differ by more than {tolerance:g}, most by "
            f"{largest:.6f} ({where})"
        )
    return GoldenComparison(places, largest, where, tuple(problems))


def _structure_problem(found: Mapping[str, Any], expected: Mapping[str, Any]) -> str:
    """Return why two evaluations of an episode cannot be compared, or an empty string."""
    if found["joints"] != expected["joints"]:
        return f"joints {found['joints']}, expected {expected['joints']}"
    now, before = found["chunks"]["numbers"], expected["chunks"]["numbers"]
    if now != before:
        lost, new = sorted(set(before) - set(now)), sorted(set(now) - set(before))
        first = min((*lost, *new))
        what = "has no chunk" if first in lost else "has a chunk"
        return (
            f"{len(now)} chunks, expected {len(before)}; interval {first} {what}, unlike in the "
            "golden evaluation"
        )
    shapes = [np.shape(each["chunks"]["predicted"]) for each in (found, expected)]
    if shapes[0] != shapes[1]:
        return f"chunks of shape {list(shapes[0])}, expected {list(shapes[1])}"
    return ""
