# SPDX-License-Identifier: Apache-2.0
"""Find what would harm a training run, each with what to do about it."""

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from groot_ros.bags.parallel import map_episodes
from groot_ros.core import is_blank
from groot_ros.datasets import DatasetError
from groot_ros.datasets.episode_check import REWRITE, EpisodeCheck, Finding, check_episode
from groot_ros.datasets.features import ACTION, INDICES, STATE
from groot_ros.datasets.reader import Dataset
from groot_ros.datasets.statistics import GROOT_KEYS

#: Share of a column's range by which stored statistics may be off.
_STATISTICS_TOLERANCE = 1e-3


def check_dataset(
    path: Path, horizon: int = 16, *, jobs: int | None = None, dask: str = ""
) -> list[Finding]:
    """Check metadata, rows, videos and statistics of a data set; no findings are good news.

    Args:
        path: its folder.
        horizon: steps of the policy's chunks.
        jobs: local processes; None = one per CPU.
        dask: address of a Dask cluster; empty = local processes.

    Raises:
        DatasetError: it cannot be read at all.

    """
    dataset = Dataset(path)
    numbers = range(len(dataset.episodes))
    results = map_episodes(
        partial(check_episode, path, horizon=horizon),
        numbers,
        names=[f"episode {number}" for number in numbers],
        label="checking",
        jobs=jobs,
        dask=dask,
        paths=[path],
    )
    findings = list(_check_metadata(dataset))
    checked = []
    for number, result in enumerate(results):
        if result.value is None:
            remedy = "restore its files, or leave it out with 'groot-ros dataset split'"
            findings.append(Finding("error", f"episode {number}", result.error, remedy))
        else:
            checked.append(result.value)
            findings += result.value.findings
    findings += _check_totals(dataset, checked)
    findings += _check_statistics(dataset, checked)
    return sorted(findings, key=lambda finding: finding.level != "error")


def _check_metadata(dataset: Dataset) -> Iterator[Finding]:
    description = dataset.description
    rewrite = REWRITE.format(path=dataset.path)
    if not description.modality:
        yield Finding(
            "error",
            "meta/modality.json",
            "is missing, GR00T needs it",
            "write one with the ranges of the state and action groups",
        )
    for kind, default in (("state", STATE), ("action", ACTION)):
        for group in description.modality.get(kind, {}):
            try:
                dataset.group_slice(kind, group)
            except DatasetError as error:
                yield Finding(
                    "error",
                    "meta/modality.json",
                    str(error).removeprefix(f"{dataset.path}/meta/modality.json: "),
                    "correct its start, end or original_key",
                )
        if default not in description.features:
            yield Finding(
                "error", "meta/info.json", f"there is no feature '{default}'", "convert it again"
            )
    for view in dataset.views:
        try:
            dataset.camera(view)
        except DatasetError as error:
            yield Finding("error", "meta/modality.json", str(error), "correct its original_key")
    used = {e.number for e in dataset.episodes}
    if used != set(range(len(used))):
        yield Finding("error", "meta/episodes.jsonl", "episodes are not 0, 1, 2, ...", rewrite)
    for text in dataset.tasks.values():
        if is_blank(text):
            yield Finding(
                "error",
                "meta/tasks.jsonl",
                "an instruction is empty",
                "write what the robot does; the policy will be asked for it in these words",
            )
    yield from _check_rate(dataset)


def _check_rate(dataset: Dataset) -> Iterator[Finding]:
    try:
        contract = dataset.description.robot_contract()
    except ValueError as error:
        remedy = "restore the file, or give --robot to the commands that need a contract"
        yield Finding("warning", "meta/groot_ros.json", str(error), remedy)
        return
    if contract is None:
        return
    rate = 1.0 / contract.action_dt
    if abs(dataset.fps / rate - 1.0) > 0.01:
        yield Finding(
            "warning",
            "meta/info.json",
            f"fps is {dataset.fps:g}, but action_dt of the robot contract is "
            f"{contract.action_dt:g} s, {rate:.1f} Hz; GR00T counts rows and ignores fps",
            f"set action_dt to {1 / dataset.fps:.6g} for policies trained on this data set",
        )


def _check_totals(dataset: Dataset, checked: list[EpisodeCheck]) -> Iterator[Finding]:
    totals = {
        "total_episodes": len(dataset.episodes),
        "total_frames": sum(own.rows for own in checked),
        "total_tasks": len(dataset.tasks),
    }
    for key, value in totals.items():
        stated = dataset.info.get(key)
        if stated != value and len(checked) == len(dataset.episodes):
            yield Finding(
                "error", "meta/info.json", f"{key} is {stated}, counted are {value}", "correct it"
            )
    for name in INDICES:
        if name not in dataset.info["features"]:
            yield Finding("error", "meta/info.json", f"there is no feature '{name}'", "add it")


def _check_statistics(dataset: Dataset, checked: list[EpisodeCheck]) -> Iterator[Finding]:
    file = dataset.path / "meta" / "stats.json"
    rewrite = REWRITE.format(path=dataset.path)
    if not file.is_file():
        yield Finding(
            "warning",
            "meta/stats.json",
            "is missing; GR00T computes it when it is allowed to write there",
            rewrite,
        )
        return
    try:
        stored = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        yield Finding("error", "meta/stats.json", f"is damaged ({error})", rewrite)
        return
    for name in {name for own in checked for name in own.ranges}:
        low = np.min([own.ranges[name][0] for own in checked if name in own.ranges], axis=0)
        high = np.max([own.ranges[name][1] for own in checked if name in own.ranges], axis=0)
        own = stored.get(name, {})
        missing = [key for key in GROOT_KEYS if key not in own]
        if missing:
            what = f"has no '{missing[0]}' of '{name}'"
            yield Finding("warning", "meta/stats.json", what, rewrite)
            continue
        margin = _STATISTICS_TOLERANCE * np.maximum(high - low, 1e-3)
        stale = (np.abs(np.ravel(own["min"]) - low) > margin) | (
            np.abs(np.ravel(own["max"]) - high) > margin
        )
        if stale.any():
            column = int(stale.argmax())
            yield Finding(
                "error",
                "meta/stats.json",
                f"column {column} of '{name}' is from {np.ravel(own['min'])[column]:g} to "
                f"{np.ravel(own['max'])[column]:g}, the rows are from {low[column]:g} to "
                f"{high[column]:g}",
                rewrite,
            )
