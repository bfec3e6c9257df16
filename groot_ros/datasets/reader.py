# SPDX-License-Identifier: Apache-2.0
"""Read LeRobot data sets of version 2.1 (and 2.0), with or without GR00T's modality.json."""

import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from groot_ros.datasets import DatasetError
from groot_ros.datasets.episodes import EpisodeFiles
from groot_ros.datasets.features import (
    ACTION,
    DEFAULT_FEATURES,
    GROOT_ROS_JSON,
    STATE,
    Description,
    to_array,
    width_of,
)
from groot_ros.datasets.video import decode_frames

_VERSIONS = ("v2.0", "v2.1")
#: Keys of episodes.jsonl that have a meaning in the format.
_OWN_KEYS = {"episode_index", "tasks", "length"}


@dataclass(frozen=True)
class Episode:
    """One episode; its rows are read when they are asked for.

    Attributes:
        number: index in the data set.
        length: number of rows, as episodes.jsonl states it.
        tasks: instructions, as episodes.jsonl states them.
        entry: further keys of its line there, such as "outcome".
        rows: its Parquet file.
        videos: camera (feature name) -> its mp4.

    """

    dataset: "Dataset"
    number: int
    length: int
    tasks: tuple[str, ...]
    entry: Mapping[str, Any]
    rows: Path
    videos: Mapping[str, Path]

    @cached_property
    def table(self) -> pa.Table:
        """Return all columns.

        Raises:
            DatasetError: the file is missing, damaged or has no rows.

        """
        if not self.rows.is_file():
            raise DatasetError(f"{self.rows} is missing")
        try:
            table = pq.read_table(self.rows)
        except (OSError, pa.ArrowException) as error:
            raise DatasetError(f"{self.rows} cannot be read: {error}") from error
        if not table.num_rows:
            raise DatasetError(f"{self.rows} has no rows")
        return table

    def column(self, name: str) -> NDArray[Any]:
        """Return the values of a column, [N] or [N, D]; DatasetError if there is none."""
        if name not in self.table.column_names:
            raise DatasetError(
                f"{self.rows} has no column '{name}', it has {', '.join(self.table.column_names)}"
            )
        try:
            return to_array(self.table[name])
        except DatasetError as error:
            raise DatasetError(f"{self.rows}, column '{name}': {error}") from error

    def numbers(self, name: str) -> NDArray[np.float64]:
        """Return the values of a column of numbers, [N, D].

        Raises:
            DatasetError: there is no such column, or it is not as meta/info.json states.

        """
        values = self.column(name)
        values = values.reshape(len(values), -1)
        feature = self.dataset.description.all_features.get(name)
        if feature is not None and values.shape[1] != width_of(feature):
            raise DatasetError(
                f"{self.rows}: column '{name}' has {values.shape[1]} values in each row, but "
                f"meta/info.json states {width_of(feature)}"
            )
        try:
            return values.astype(np.float64)
        except (TypeError, ValueError) as error:
            raise DatasetError(f"{self.rows}: column '{name}' is not numeric: {error}") from error

    def group(self, kind: str, group: str) -> NDArray[np.float64]:
        """Return a modality group, [N, D], in the units of the data set.

        Args:
            kind: "state" or "action".
            group: as modality.json names it.

        Raises:
            DatasetError: there is no such group; see also `numbers`.

        """
        name, begin, end = self.dataset.group_slice(kind, group)
        return self.numbers(name)[:, begin:end]

    def instructions(self) -> tuple[str, ...]:
        """Return the instruction of each row, [N], through the column of modality.json."""
        name = self.dataset.instruction_column
        numbers = self.column(name)
        if numbers.dtype.kind not in "iuf" or (numbers % 1 != 0).any():
            raise DatasetError(f"{self.rows}: column '{name}' must have a whole number in each row")
        known = self.dataset.tasks
        missing = sorted({int(n) for n in numbers} - known.keys())
        if missing:
            raise DatasetError(f"{self.rows}: task {missing[0]} is not in meta/tasks.jsonl")
        return tuple(known[int(n)] for n in numbers)

    def frames(
        self, view: str, indices: Sequence[int] | None = None
    ) -> Iterator[NDArray[np.uint8]]:
        """Decode frames of a view in the order of the rows, uint8 RGB [H, W, 3].

        Args:
            view: as modality.json names it, or the feature.
            indices: rows, ascending; None = all.

        Raises:
            DatasetError: there is no such view, or its video cannot be read.

        """
        return decode_frames(self.videos[self.dataset.camera(view)], indices)

    def files(self) -> EpisodeFiles:
        """Return its files, to write them into another data set."""
        statistics = self.dataset.image_statistics.get(self.number, {})
        return EpisodeFiles(
            f"{self.dataset.path}, episode {self.number}",
            self.rows,
            self.length,
            self.videos,
            self.dataset.tasks,
            self.entry,
            {camera: statistics[camera] for camera in self.videos if camera in statistics},
        )


class Dataset:
    """A data set on disk. Opening it reads its metadata only.

    Args:
        path: its folder.

    Attributes:
        info: content of meta/info.json.
        description: what all episodes have in common.
        tasks: index -> text.
        episodes: in the order of their indices.

    Raises:
        DatasetError: it is none, of another version, or damaged.

    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.is_dir():
            raise DatasetError(f"there is no data set at {path}")
        self.info: dict[str, Any] = self._json("info.json")
        version = self.info.get("codebase_version")
        if version not in _VERSIONS:
            raise DatasetError(
                f"{path} is a LeRobot data set of version {version}, readable are "
                f"{' and '.join(_VERSIONS)}: convert it with convert_v3_to_v2.py of Isaac-GR00T"
            )
        try:
            self.description = self._description()
            self.tasks = {
                int(line["task_index"]): str(line["task"]) for line in self._lines("tasks.jsonl")
            }
            self.episodes = tuple(self._episode(line) for line in self._lines("episodes.jsonl"))
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            if isinstance(error, DatasetError):
                raise
            raise DatasetError(f"{path}/meta is damaged: {error!r}") from error
        for number, count in Counter(episode.number for episode in self.episodes).items():
            if count > 1:
                raise DatasetError(f"{path}/meta/episodes.jsonl has episode {number} {count} times")

    @property
    def fps(self) -> float:
        """Return the rows per second."""
        return self.description.fps

    @property
    def views(self) -> tuple[str, ...]:
        """Return the names of the views, as modality.json or else the features name them."""
        return tuple(self.description.modality.get("video", self.description.cameras))

    @cached_property
    def image_statistics(self) -> Mapping[int, Mapping[str, Any]]:
        """Return episode -> camera -> statistics, where the data set has them."""
        if not (self.path / "meta" / "episodes_stats.jsonl").is_file():
            return {}
        return {
            line["episode_index"]: line["stats"] for line in self._lines("episodes_stats.jsonl")
        }

    @property
    def instruction_column(self) -> str:
        """Return the column with the index of the instruction."""
        for key, entry in self.description.modality.get("annotation", {}).items():
            if key.endswith("task_description"):
                return str(entry.get("original_key", f"annotation.{key}"))
        return "task_index"

    def camera(self, view: str) -> str:
        """Return the video feature of a view; DatasetError if there is none."""
        entry = self.description.modality.get("video", {}).get(view, {})
        camera = str(entry.get("original_key", view))
        if camera not in self.description.cameras:
            raise DatasetError(f"{self.path} has no view '{view}': it has {', '.join(self.views)}")
        return camera

    def group_slice(self, kind: str, group: str) -> tuple[str, int, int]:
        """Return (column, first, end) of a modality group.

        Raises:
            DatasetError: there is no such group, or it is not a part of a column.

        """
        groups = self.description.modality.get(kind)
        if groups is None:
            raise DatasetError(
                f"{self.path} has no meta/modality.json with '{kind}': GR00T needs one"
            )
        if group not in groups:
            raise DatasetError(
                f"{self.path} has no {kind} group '{group}': it has {', '.join(groups)}"
            )
        entry = groups[group]
        where = f"{self.path}/meta/modality.json: {kind} group '{group}'"
        try:
            begin, end = int(entry["start"]), int(entry["end"])
        except (KeyError, TypeError, ValueError) as error:
            raise DatasetError(f"{where} needs whole numbers 'start' and 'end'") from error
        name = str(entry.get("original_key", STATE if kind == "state" else ACTION))
        feature = self.description.all_features.get(name)
        if feature is None:
            raise DatasetError(f"{where} is of '{name}', which meta/info.json does not have")
        if not 0 <= begin < end <= width_of(feature):
            raise DatasetError(
                f"{where} is columns {begin} to {end} of '{name}', which has {width_of(feature)}"
            )
        return name, begin, end

    def _description(self) -> Description:
        features = {n: f for n, f in self.info["features"].items() if n not in DEFAULT_FEATURES}
        fps = self.info["fps"]
        if not 0 < float(fps) < math.inf:
            raise DatasetError(f"{self.path}/meta/info.json: fps must be positive, not {fps}")
        modality = self._json("modality.json", {})
        for kind, groups in modality.items():
            if not isinstance(groups, dict):
                raise DatasetError(f"{self.path}/meta/modality.json: '{kind}' is not an object")
        return Description(
            int(fps) if float(fps).is_integer() else fps,
            str(self.info.get("robot_type") or ""),
            features,
            modality,
            self._json(GROOT_ROS_JSON, {}),
        )

    def _episode(self, line: Mapping[str, Any]) -> Episode:
        number = int(line["episode_index"])
        where = {
            "episode_index": number,
            "episode_chunk": number // int(self.info.get("chunks_size") or 1000),
        }
        videos = {
            camera: self.path / self.info["video_path"].format(video_key=camera, **where)
            for camera in self.description.cameras
        }
        return Episode(
            self,
            number,
            int(line["length"]),
            tuple(line["tasks"]),
            {key: value for key, value in line.items() if key not in _OWN_KEYS},
            self.path / self.info["data_path"].format(**where),
            videos,
        )

    def _json(self, name: str, default: dict[str, Any] | None = None) -> dict[str, Any]:
        file = self.path / "meta" / name
        if default is not None and not file.is_file():
            return default
        value = self._parse(file, self._text(file))
        if not isinstance(value, dict):
            raise DatasetError(f"{file} is damaged: it is not an object")
        return value

    def _lines(self, name: str) -> list[dict[str, Any]]:
        file = self.path / "meta" / name
        return [self._parse(file, line) for line in self._text(file).splitlines() if line.strip()]

    def _text(self, file: Path) -> str:
        try:
            return file.read_text(encoding="utf-8")
        except FileNotFoundError as error:
            raise DatasetError(
                f"{self.path} is not a data set of LeRobot v2.1: it has no meta/{file.name}"
            ) from error
        except (OSError, UnicodeDecodeError) as error:
            raise DatasetError(f"{file} cannot be read: {error}") from error

    @staticmethod
    def _parse(file: Path, text: str) -> Any:
        try:
            return json.loads(text)
        except json.JSONDecodeError as error:
            raise DatasetError(f"{file} is damaged: {error}") from error
