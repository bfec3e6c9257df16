# SPDX-License-Identifier: Apache-2.0
"""The layout of LeRobot v2.1, with the files that GR00T reads in addition."""

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from groot_ros.datasets import DatasetError
from groot_ros.datasets.episodes import EpisodeFiles, IndexedEpisode, base_info, episode_line
from groot_ros.datasets.features import (
    CHUNK_SIZE,
    Description,
    to_array,
    write_json,
    write_lines,
)
from groot_ros.datasets.statistics import V21_KEYS, groot_statistics
from groot_ros.datasets.video import count_frames

DATA_PATH = "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet"
VIDEO_PATH = "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4"


def write(
    folder: Path,
    description: Description,
    episodes: Iterator[IndexedEpisode],
    tasks: Mapping[str, int],
) -> None:
    """Write data, videos and metadata; `tasks` is complete after the last episode."""
    lines, statistics = [], []
    floats = [n for n, f in description.columns.items() if "float" in str(f["dtype"])]
    values: dict[str, list[NDArray[Any]]] = {name: [] for name in floats}
    frames = 0
    for episode in episodes:
        where = {
            "episode_chunk": episode.number // CHUNK_SIZE,
            "episode_index": episode.number,
        }
        data = folder / DATA_PATH.format(**where)
        data.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(episode.table, data, compression="snappy")
        for camera, video in episode.files.videos.items():
            target = folder / VIDEO_PATH.format(video_key=camera, **where)
            _place(episode.files, video, target)
            _require_frames(target, episode.files)
        lines.append(episode_line(episode))
        kept = {
            name: {key: own[key] for key in V21_KEYS if key in own}
            for name, own in episode.statistics.items()
        }
        statistics.append({"episode_index": episode.number, "stats": kept})
        for name in floats:
            values[name].append(to_array(episode.table[name]))
        frames += episode.files.length
    count = len(lines)
    meta = folder / "meta"
    info = base_info(description, "v2.1", count, frames, len(tasks))
    info["total_videos"] = count * len(description.cameras)
    info["total_chunks"] = -(-count // CHUNK_SIZE)
    info["data_path"] = DATA_PATH
    info["video_path"] = VIDEO_PATH if description.cameras else None
    write_json(meta / "info.json", info)
    write_lines(meta / "episodes.jsonl", lines)
    write_lines(meta / "episodes_stats.jsonl", statistics)
    write_lines(meta / "tasks.jsonl", [{"task_index": i, "task": t} for t, i in tasks.items()])
    joined = ((name, np.concatenate(own)) for name, own in values.items())
    write_json(meta / "stats.json", groot_statistics(joined))


def _require_frames(video: Path, files: EpisodeFiles) -> None:
    frames = count_frames(video)
    if frames != files.length:
        raise DatasetError(
            f"{files.name}: {video.name} has {frames} frames for {files.length} rows"
        )


def _place(files: EpisodeFiles, source: Path, target: Path) -> None:
    """Move or copy a file of an episode."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if files.owned:
        shutil.move(source, target)
    else:
        shutil.copyfile(source, target)
