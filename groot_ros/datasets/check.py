# SPDX-License-Identifier: Apache-2.0
"""Find what a training run would trip over, or silently learn, each with what to do about it."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import yaml
from numpy.typing import NDArray

from groot_ros.bags.parallel import map_episodes
from groot_ros.core import is_blank
from groot_ros.datasets import DatasetError
from groot_ros.datasets.features import ACTION, INDICES, STATE, width_of
from groot_ros.datasets.reader import Dataset, Episode
from groot_ros.datasets.statistics import GROOT_KEYS
from groot_ros.datasets.video import verify_video, video_info
from groot_ros.robot.contract import parse_contract

Level = Literal["error", "warning"]

#: s by which a time stamp may differ from frame_index / fps: LeRobot's tolerance.
_TIME_TOLERANCE = 1e-4
#: Share of a column's range by which stored statistics may be off.
_STATISTICS_TOLERANCE = 1e-3
#: Rows at the start without any change of the actions that are reported, s.
_LONGEST_REST = 1.0
_REWRITE = "write it anew with 'groot-ros dataset merge {path} OUT'"


@dataclass(frozen=True)
class Finding:
    """One problem: where it is, what is wrong, and how to fix it."""

    level: Level
    where: str
    what: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.level}: {self.where}: {self.what}: {self.remedy}"


@dataclass(frozen=True)
class _EpisodeCheck:
    """What one episode contributes: findings, and ranges of its float columns."""

    findings: tuple[Finding, ...]
    rows: int
    ranges: dict[str, tuple[NDArray[Any], NDArray[Any]]]


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
        partial(_check_episode, path, horizon=horizon),
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
    rewrite = _REWRITE.format(path=dataset.path)
    if not description.modality:
        yield Finding(
            "error",
            "meta/modality.json",
            "is missing, GR00T needs it",
            "write one with the ranges of the state and action groups",
        )
    for kind, default in (("state", STATE), ("action", ACTION)):
        for group in description.modality.get(kind, {}):
            name, begin, end = dataset.group_slice(kind, group)
            feature = description.all_features.get(name)
            width = 0 if feature is None else width_of(feature)
            if not 0 <= begin < end <= width:
                yield Finding(
                    "error",
                    "meta/modality.json",
                    f"{kind} group '{group}' is columns {begin} to {end} of '{name}', which has "
                    f"{width}",
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
    text = dataset.description.robot.get("contract")
    if not text:
        return
    contract = parse_contract(yaml.safe_load(text), "meta/groot_ros.json")
    rate = 1.0 / contract.action_dt
    if abs(dataset.fps / rate - 1.0) > 0.01:
        yield Finding(
            "warning",
            "meta/info.json",
            f"fps is {dataset.fps:g}, but action_dt of the robot contract is "
            f"{contract.action_dt:g} s, {rate:.1f} Hz; GR00T counts rows and ignores fps",
            f"set action_dt to {1 / dataset.fps:.6g} for policies trained on this data set",
        )


def _check_episode(path: Path, number: int, *, horizon: int) -> _EpisodeCheck:
    dataset = Dataset(path)
    episode = dataset.episodes[number]
    where = f"episode {number}"
    rows = episode.table.num_rows
    findings = [
        *_check_rows(dataset, episode, where, rows, horizon),
        *_check_videos(dataset, episode, where, rows),
    ]
    ranges = {}
    for name, feature in dataset.description.columns.items():
        if name not in episode.table.column_names:
            findings.append(
                Finding("error", where, f"there is no column '{name}'", "convert it again")
            )
        elif "float" in str(feature["dtype"]) and rows:
            values = episode.column(name).reshape(rows, -1)
            ranges[name] = (values.min(axis=0), values.max(axis=0))
            if not np.isfinite(values).all():
                row = int(np.flatnonzero(~np.isfinite(values).all(axis=1))[0])
                findings.append(
                    Finding(
                        "error",
                        f"{where}, row {row}",
                        f"'{name}' is not finite",
                        "convert it again, or leave the episode out",
                    )
                )
    findings += _check_motion(episode, where)
    return _EpisodeCheck(tuple(findings), rows, ranges)


def _check_rows(
    dataset: Dataset, episode: Episode, where: str, rows: int, horizon: int
) -> Iterator[Finding]:
    rewrite = _REWRITE.format(path=dataset.path)
    if rows != episode.length:
        yield Finding(
            "error",
            where,
            f"it has {rows} rows, episodes.jsonl states {episode.length}",
            "correct the length in episodes.jsonl",
        )
    if rows < horizon:
        yield Finding(
            "warning",
            where,
            f"it has {rows} rows, fewer than the horizon of {horizon}, so nothing is learnt of it",
            "leave it out with 'groot-ros dataset split'",
        )
    expected = np.arange(rows)
    if "timestamp" in episode.table.column_names:
        late = np.abs(episode.column("timestamp") - expected / dataset.fps)
        if late.max(initial=0.0) > _TIME_TOLERANCE:
            row = int(late.argmax())
            yield Finding(
                "error",
                f"{where}, row {row}",
                f"its time differs from {row}/{dataset.fps:g} s by {late[row]:.4f} s",
                rewrite,
            )
    for name, values in (("frame_index", expected), ("episode_index", episode.number)):
        if name in episode.table.column_names and (episode.column(name) != values).any():
            yield Finding("error", where, f"column '{name}' does not count as it should", rewrite)
    texts = set(episode.instructions())
    if not texts <= set(episode.tasks):
        yield Finding(
            "warning",
            where,
            "its rows have instructions that its line in episodes.jsonl does not state",
            rewrite,
        )


def _check_videos(dataset: Dataset, episode: Episode, where: str, rows: int) -> Iterator[Finding]:
    for camera, video in episode.videos.items():
        what = f"{where}, {camera}"
        again = "convert the episode again: later rows may show wrong images"
        if not video.is_file():
            yield Finding("error", what, f"{video} is missing", "restore it")
            continue
        if problem := verify_video(video, rows, dataset.fps):
            yield Finding("error", what, f"the video {problem}", again)
            continue
        info = video_info(video)
        shape = dataset.description.features[camera]["shape"]
        if [info["height"], info["width"]] != list(shape[:2]):
            yield Finding(
                "error",
                what,
                f"the video has {info['width']} x {info['height']} pixels, info.json states "
                f"{shape[1]} x {shape[0]}",
                "correct info.json",
            )
        if info["codec"] == "av1":
            yield Finding(
                "warning",
                what,
                "the video is AV1, which decord and the ffmpeg of JetPack cannot decode",
                "train with torchcodec or PyAV, or encode it with libx264",
            )


def _check_motion(episode: Episode, where: str) -> Iterator[Finding]:
    """Yield what makes a policy learn the wrong thing from good files."""
    names = episode.table.column_names
    if ACTION not in names or STATE not in names or episode.table.num_rows < 2:
        return
    action, state = episode.column(ACTION), episode.column(STATE)
    if action.shape == state.shape and np.array_equal(action, state):
        yield Finding(
            "warning",
            where,
            "every action is the state of the same row, which trains a robot that stays still",
            "convert the bags again, with the commands as actions",
        )
    action = action.reshape(len(action), -1)
    changes = (action != action[0]).any(axis=1)
    if not changes.any():
        yield Finding("warning", where, "no action ever changes", "leave the episode out")
        return
    rest = int(changes.argmax()) / episode.dataset.fps
    if rest > _LONGEST_REST:
        yield Finding(
            "warning",
            where,
            f"nothing is commanded in its first {rest:.1f} s, and policies learn to stay idle",
            "convert the bag again without --keep-idle",
        )


def _check_totals(dataset: Dataset, checked: list[_EpisodeCheck]) -> Iterator[Finding]:
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


def _check_statistics(dataset: Dataset, checked: list[_EpisodeCheck]) -> Iterator[Finding]:
    file = dataset.path / "meta" / "stats.json"
    rewrite = _REWRITE.format(path=dataset.path)
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
