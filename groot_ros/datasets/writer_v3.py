# SPDX-License-Identifier: Apache-2.0
"""The layout of LeRobot v3.0: many episodes in a file, and their limits in a table."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from groot_ros.datasets import DatasetError
from groot_ros.datasets.episodes import EpisodeFiles, IndexedEpisode, base_info, episode_line
from groot_ros.datasets.features import CHUNK_SIZE, Description, schema, write_json
from groot_ros.datasets.statistics import aggregate
from groot_ros.datasets.video import join_videos

DATA_PATH = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
VIDEO_PATH = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
EPISODES_PATH = "meta/episodes/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
#: A new file begins with the episode that would make it larger than this.
DATA_MB, VIDEO_MB = 100, 200


def write(
    folder: Path,
    description: Description,
    episodes: Iterable[IndexedEpisode],
    tasks: Mapping[str, int],
) -> None:
    """Write data, videos and metadata; `tasks` is complete after the last episode."""
    rows: list[dict[str, Any]] = []
    files: list[EpisodeFiles] = []
    statistics: dict[str, list[Mapping[str, Any]]] = {}
    frames = 0
    with _RollingParquet(folder, schema(description.columns)) as data:
        for episode in episodes:
            chunk, file = data.append(episode.table)
            length = episode.files.length
            line = episode_line(episode)
            for name, own in episode.statistics.items():
                statistics.setdefault(name, []).append(own)
                line |= {f"stats/{name}/{key}": value for key, value in own.items()}
            line |= {
                "data/chunk_index": chunk,
                "data/file_index": file,
                "dataset_from_index": frames,
                "dataset_to_index": frames + length,
                "meta/episodes/chunk_index": 0,
                "meta/episodes/file_index": 0,
            }
            frames += length
            rows.append(line)
            files.append(episode.files)
    for camera in description.cameras:
        places = _write_videos(folder, camera, files, description)
        for row, place in zip(rows, places, strict=True):
            row |= {f"videos/{camera}/{key}": value for key, value in place.items()}
    _write_metadata(folder, description, rows, statistics, frames, tasks)


def _write_videos(
    folder: Path, camera: str, episodes: Sequence[EpisodeFiles], description: Description
) -> Iterator[dict[str, Any]]:
    """Join the videos of one camera; yield where each episode is."""
    groups: list[list[EpisodeFiles]] = []
    size = 0
    for episode in episodes:
        own = episode.videos[camera].stat().st_size
        if not groups or size + own > VIDEO_MB * 2**20:
            groups.append([])
            size = 0
        groups[-1].append(episode)
        size += own
    for number, group in enumerate(groups):
        where = {"chunk_index": number // CHUNK_SIZE, "file_index": number % CHUNK_SIZE}
        target = folder / VIDEO_PATH.format(video_key=camera, **where)
        target.parent.mkdir(parents=True, exist_ok=True)
        counts = join_videos([own.videos[camera] for own in group], target, description.fps)
        first = 0
        for episode, count in zip(group, counts, strict=True):
            if count != episode.length:
                raise DatasetError(
                    f"{episode.name}: {episode.videos[camera].name} has {count} frames for "
                    f"{episode.length} rows"
                )
            # From integers: sums of durations would drift against the times of the frames.
            begin, end = first / description.fps, (first + count) / description.fps
            yield {**where, "from_timestamp": begin, "to_timestamp": end}
            first += count


def _write_metadata(
    folder: Path,
    description: Description,
    rows: Sequence[Mapping[str, Any]],
    statistics: Mapping[str, Sequence[Mapping[str, Any]]],
    frames: int,
    tasks: Mapping[str, int],
) -> None:
    info = base_info(description, "v3.0", len(rows), frames, len(tasks))
    info["data_files_size_in_mb"] = DATA_MB
    info["video_files_size_in_mb"] = VIDEO_MB
    info["data_path"] = DATA_PATH
    info["video_path"] = VIDEO_PATH if description.cameras else None
    write_json(folder / "meta" / "info.json", info)
    totals = {name: aggregate(parts) for name, parts in statistics.items()}
    write_json(folder / "meta" / "stats.json", totals)
    pq.write_table(_tasks_table(tasks), folder / "meta" / "tasks.parquet")
    target = folder / EPISODES_PATH.format(chunk_index=0, file_index=0)
    target.parent.mkdir(parents=True)
    keys = list(dict.fromkeys(key for row in rows for key in row))
    columns = {key: [row.get(key) for row in rows] for key in keys}
    pq.write_table(pa.table(columns), target)


def _tasks_table(tasks: Mapping[str, int]) -> pa.Table:
    """Return the table of tasks, whose index is the text when pandas reads it."""

    def column(name: str, kind: str, numpy_type: str) -> dict[str, Any]:
        return {
            "name": name,
            "field_name": name,
            "pandas_type": kind,
            "numpy_type": numpy_type,
            "metadata": None,
        }

    pandas = {
        "index_columns": ["task"],
        "column_indexes": [],
        "columns": [column("task_index", "int64", "int64"), column("task", "unicode", "object")],
        "pandas_version": "2.0.0",
    }
    types = pa.schema(
        [("task_index", pa.int64()), ("task", pa.string())], {"pandas": json.dumps(pandas)}
    )
    return pa.Table.from_arrays(
        [pa.array(tasks.values(), pa.int64()), pa.array(tasks, pa.string())], schema=types
    )


class _RollingParquet:
    """Writes the rows of episodes, one row group each, into files of a limited size."""

    def __init__(self, folder: Path, types: pa.Schema) -> None:
        self._folder = folder
        self._types = types
        self._number = -1
        self._size = 0
        self._writer: pq.ParquetWriter | None = None

    def __enter__(self) -> "_RollingParquet":
        return self

    def __exit__(self, *_: object) -> None:
        if self._writer is not None:
            self._writer.close()

    def append(self, table: pa.Table) -> tuple[int, int]:
        """Write the rows of an episode; return chunk and number of the file they are in."""
        if self._writer is None or self._size + table.nbytes > DATA_MB * 2**20:
            if self._writer is not None:
                self._writer.close()
            self._number += 1
            self._size = 0
            where = self._folder / DATA_PATH.format(**self._where())
            where.parent.mkdir(parents=True, exist_ok=True)
            self._writer = pq.ParquetWriter(where, self._types, compression="snappy")
        self._writer.write_table(table, row_group_size=max(1, table.num_rows))
        self._size += table.nbytes
        chunk, file = self._where().values()
        return chunk, file

    def _where(self) -> dict[str, int]:
        number = self._number
        return {"chunk_index": number // CHUNK_SIZE, "file_index": number % CHUNK_SIZE}
