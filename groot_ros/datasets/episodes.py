# SPDX-License-Identifier: Apache-2.0
"""Episodes on their way into a data set: their files, then with the indices that they get there."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from tqdm import tqdm

from groot_ros.datasets import DatasetError
from groot_ros.datasets.features import CHUNK_SIZE, Description, Format, to_array, to_table
from groot_ros.datasets.statistics import ImageStatistics, column_statistics, sampled_rows
from groot_ros.datasets.video import decode_frames


@dataclass(frozen=True)
class EpisodeFiles:
    """One episode in files that belong to no data set yet, or to another one.

    Attributes:
        name: where it is from, for messages.
        rows: Parquet file with the columns of the description; indices in it are ignored, but
            `task_index` and integer columns `annotation.*` refer to `tasks`.
        length: number of rows.
        videos: camera -> mp4 with one frame per row.
        tasks: number in the rows -> text.
        entry: further keys of its line in episodes.jsonl, such as "outcome".
        image_statistics: camera -> statistics; those that are missing are computed.
        owned: whether the files may be moved instead of copied.

    """

    name: str
    rows: Path
    length: int
    videos: Mapping[str, Path]
    tasks: Mapping[int, str]
    entry: Mapping[str, Any] = field(default_factory=dict)
    image_statistics: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    owned: bool = False


@dataclass(frozen=True)
class IndexedEpisode:
    """One episode with its final indices.

    Attributes:
        number: its index.
        table: all columns.
        tasks: texts of its rows, each once.
        statistics: feature -> all statistics.

    """

    number: int
    files: EpisodeFiles
    table: pa.Table
    tasks: tuple[str, ...]
    statistics: Mapping[str, Mapping[str, Any]]


def index_episodes(
    description: Description, episodes: Sequence[EpisodeFiles], tasks: dict[str, int]
) -> Iterator[IndexedEpisode]:
    """Give the episodes their indices, in order; `tasks` is filled with text -> index."""
    first = 0
    for number, files in enumerate(tqdm(episodes, "writing", unit="episode", disable=None)):
        for path in (files.rows, *files.videos.values()):
            if not path.is_file():
                raise DatasetError(f"{files.name}: {path} is missing")
        source = pq.read_table(files.rows)
        if source.num_rows != files.length:
            raise DatasetError(
                f"{files.name}: {files.rows.name} has {source.num_rows} rows, not {files.length}"
            )
        columns, used = _columns(description, files, source, tasks)
        position = np.arange(files.length)
        columns |= {
            "timestamp": position / description.fps,
            "frame_index": position,
            "episode_index": np.full(files.length, number),
            "index": first + position,
        }
        first += files.length
        statistics = {
            **_image_statistics(files),
            **{
                name: column_statistics(columns[name])
                for name, feature in description.columns.items()
                if feature["dtype"] != "string"
            },
        }
        table = to_table(columns, description.columns)
        yield IndexedEpisode(number, files, table, used, statistics)


def _columns(
    description: Description, files: EpisodeFiles, source: pa.Table, tasks: dict[str, int]
) -> tuple[dict[str, NDArray[Any]], tuple[str, ...]]:
    """Return the columns with tasks as the data set counts them, and the texts that are used."""
    columns: dict[str, NDArray[Any]] = {}
    used: dict[str, None] = {}
    for name, feature in description.columns.items():
        if name not in source.column_names:
            if name in ("timestamp", "frame_index", "episode_index", "index"):
                continue
            raise DatasetError(f"{files.name}: {files.rows.name} has no column '{name}'")
        values = to_array(source[name])
        refers = name == "task_index" or name.startswith("annotation.")
        if refers and "int" in str(feature["dtype"]):
            numbers = {}
            for old in np.unique(values):
                if int(old) not in files.tasks:
                    raise DatasetError(f"{files.name}: column '{name}' has unknown task {old}")
                text = files.tasks[int(old)]
                used[text] = None
                numbers[int(old)] = tasks.setdefault(text, len(tasks))
            values = np.array([numbers[int(old)] for old in values], dtype=np.int64)
        columns[name] = values
    return columns, tuple(used)


def _image_statistics(files: EpisodeFiles) -> dict[str, Mapping[str, Any]]:
    found = dict(files.image_statistics)
    for camera, video in files.videos.items():
        if camera not in found:
            statistics = ImageStatistics()
            for rgb in decode_frames(video, sampled_rows(files.length).tolist()):
                statistics.add_image(rgb)
            found[camera] = statistics.result()
    return found


def base_info(
    description: Description, layout: Format, episodes: int, frames: int, tasks: int
) -> dict:
    """Return the keys of info.json that both versions have."""
    return {
        "codebase_version": layout,
        "robot_type": description.robot_type,
        "total_episodes": episodes,
        "total_frames": frames,
        "total_tasks": tasks,
        "chunks_size": CHUNK_SIZE,
        "fps": description.fps,
        "splits": {"train": f"0:{episodes}"},
        "features": description.all_features,
    }


def episode_line(episode: IndexedEpisode) -> dict[str, Any]:
    """Return the line of an episode in episodes.jsonl."""
    return {
        "episode_index": episode.number,
        "tasks": list(episode.tasks),
        "length": episode.files.length,
        **episode.files.entry,
    }
