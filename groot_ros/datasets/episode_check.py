# SPDX-License-Identifier: Apache-2.0
"""Checks of one episode: its rows, videos and motion."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from groot_ros.datasets.features import ACTION, STATE
from groot_ros.datasets.reader import Dataset, Episode
from groot_ros.datasets.video import verify_video, video_info

Level = Literal["error", "warning"]

#: What to do about indices and statistics that do not fit the rows.
REWRITE = "rewrite it with 'groot-ros dataset merge {path} OUT'"
#: s by which a time stamp may differ from frame_index / fps: LeRobot's tolerance.
_TIME_TOLERANCE = 1e-4
#: Rows at the start without any change of the actions that are reported, s.
_LONGEST_REST = 1.0


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
class EpisodeCheck:
    """Findings of one episode, its number of rows, and the ranges of its float columns."""

    findings: tuple[Finding, ...]
    rows: int
    ranges: dict[str, tuple[NDArray[Any], NDArray[Any]]]


def check_episode(path: Path, number: int, *, horizon: int) -> EpisodeCheck:
    """Check an episode of the data set at `path`.

    Raises:
        DatasetError: its rows cannot be read.

    """
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
    return EpisodeCheck(tuple(findings), rows, ranges)


def _check_rows(
    dataset: Dataset, episode: Episode, where: str, rows: int, horizon: int
) -> Iterator[Finding]:
    rewrite = REWRITE.format(path=dataset.path)
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
            row = int((late > _TIME_TOLERANCE).argmax())
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
