# SPDX-License-Identifier: Apache-2.0
"""Episodes of LeRobot data sets as training samples, with all frames decoded once.

Everything random follows from the seed and the number of a sample, so a run can be resumed, or
divided among processes, without any state.
"""

import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from groot_ros.datasets import DatasetError
from groot_ros.datasets.reader import Dataset
from groot_ros.datasets.reader import Episode as StoredEpisode
from groot_ros.families.training import DataLayout, Episode

#: Column with training labels of a view.
LABEL = "label."
FrameChange = Callable[[NDArray[np.uint8]], NDArray[np.uint8]]


@dataclass(frozen=True)
class Recording:
    """One episode of a data set without its frames.

    Attributes:
        stored: where it is stored.
        state, action: group -> [T, D] in the units of the data set.
        instructions: text of each row.
        labels: view -> [T, K, 2]; see `families.training.Episode`.

    """

    stored: StoredEpisode
    state: Mapping[str, NDArray[np.float64]]
    action: Mapping[str, NDArray[np.float64]]
    instructions: tuple[str, ...]
    labels: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.instructions)

    @property
    def name(self) -> str:
        """Return data set and number, for messages."""
        return f"{self.stored.dataset.path}, episode {self.stored.number}"


def open_datasets(paths: Sequence[str]) -> tuple[Dataset, ...]:
    """Open data sets that can be trained together.

    Raises:
        DatasetError: one is damaged, has no modality.json or no episodes, or they differ.

    """
    for path in map(Path, paths):
        if (path.expanduser() / "meta.json").is_file():
            raise DatasetError(
                f"{path} has episodes for VIMA (config/training/vima_small.yaml), but GR00T is "
                "trained on data sets of LeRobot v2.1"
            )
    datasets = tuple(Dataset(Path(path).expanduser()) for path in paths)
    for dataset in datasets:
        for kind in ("state", "action", "video"):
            if not dataset.description.modality.get(kind):
                raise DatasetError(
                    f"{dataset.path} has no meta/modality.json with '{kind}', which training needs"
                )
        if not dataset.episodes:
            raise DatasetError(f"{dataset.path} has no episodes")
        if difference := datasets[0].description.difference(dataset.description):
            raise DatasetError(
                f"{datasets[0].path} and {dataset.path} cannot be trained together: {difference}"
            )
    return datasets


def read_recordings(
    datasets: Sequence[Dataset], layout: DataLayout, labels: bool
) -> list[Recording]:
    """Read all episodes besides their frames.

    Args:
        datasets: from `open_datasets`.
        layout: groups and views to read.
        labels: read the columns `label.<view>`.

    Raises:
        DatasetError: a group or a column is missing, or a value is not finite.

    """
    found = []
    for dataset in datasets:
        for stored in dataset.episodes:
            groups = {
                kind: {group: stored.group(kind, group) for group in widths}
                for kind, widths in (
                    ("state", layout.state_groups),
                    ("action", layout.action_groups),
                )
            }
            for kind, values in groups.items():
                for group, array in values.items():
                    if not np.isfinite(array).all():
                        row = int(np.argwhere(~np.isfinite(array))[0, 0])
                        raise DatasetError(
                            f"{stored.rows}: {kind} '{group}' is not finite in row {row}"
                        )
            own = {view: _labels(stored, view) for view in layout.views} if labels else {}
            found.append(
                Recording(stored, groups["state"], groups["action"], stored.instructions(), own)
            )
    return found


def _labels(stored: StoredEpisode, view: str) -> NDArray[np.float32]:
    if f"{LABEL}{view}" not in stored.table.column_names:
        raise DatasetError(
            f"{stored.rows} has no column '{LABEL}{view}', which the auxiliary loss needs: set "
            "auxiliary to 0"
        )
    values = stored.numbers(f"{LABEL}{view}").astype(np.float32)
    if values.shape[1] % 2:
        raise DatasetError(
            f"{stored.rows}: column '{LABEL}{view}' must have two values for each thing"
        )
    return values.reshape(len(values), -1, 2)


def split(episodes: Sequence[Any], share: float, seed: int) -> tuple[list[int], list[int]]:
    """Return the numbers of the trained and of the held-out episodes.

    At least one episode is held out unless the share is 0 or there is only one episode.
    """
    count = len(episodes)
    held = 0 if share == 0 or count < 2 else min(count - 1, max(1, round(share * count)))
    order = np.random.default_rng([seed, 1]).permutation(count)
    return sorted(order[held:].tolist()), sorted(order[:held].tolist())


class FrameStore:
    """Frames of all episodes, decoded and prepared once, as files that are mapped into memory."""

    def __init__(self, folder: Path, views: Sequence[str], prepare: FrameChange, key: str) -> None:
        """Open a store.

        Args:
            folder: directory of the files.
            views: cameras.
            prepare: conversion of each frame.
            key: describes the conversion; a store of another one is made again.

        """
        self.folder, self._views, self._prepare, self._key = folder, views, prepare, key
        self._open: dict[Path, NDArray[np.uint8]] = {}

    def fill(self, recordings: Sequence[Recording]) -> None:
        """Decode the episodes that are not in the store."""
        self.folder.mkdir(parents=True, exist_ok=True)
        missing = [
            (recording, view)
            for recording in recordings
            for view in self._views
            if not self._file(recording, view).is_file()
        ]
        # disable=None: no bar where the output is not a terminal.
        for recording, view in tqdm(missing, desc="decoding frames", disable=None):
            self._decode(recording, view)

    def frames(self, recording: Recording, view: str) -> NDArray[np.uint8]:
        """Return all frames of one view, [T, H, W, 3], mapped from their file."""
        file = self._file(recording, view)
        if file not in self._open:
            try:
                self._open[file] = np.load(file, mmap_mode="r")
            except (OSError, ValueError) as error:
                raise DatasetError(
                    f"{file}, frames of {recording.name}, is damaged ({error}): delete the file"
                ) from error
        return self._open[file]

    def _decode(self, recording: Recording, view: str) -> None:
        frames = [self._prepare(frame) for frame in recording.stored.frames(view)]
        if len(frames) != len(recording):
            raise DatasetError(
                f"{recording.name}: view '{view}' has {len(frames)} frames, the episode "
                f"{len(recording)} rows"
            )
        file = self._file(recording, view)
        # Another run with the same directory may decode the same video now.
        partial = file.with_suffix(f".{os.getpid()}.partial.npy")
        try:
            np.save(partial, np.stack(frames))
            os.replace(partial, file)
        except OSError as error:
            # NumPy's own text does not name the file.
            raise DatasetError(f"{file} cannot be written, is the disk full? {error}") from error
        finally:
            partial.unlink(missing_ok=True)

    def _file(self, recording: Recording, view: str) -> Path:
        stored = recording.stored
        video = stored.videos[stored.dataset.camera(view)]
        try:
            status = video.stat()
        except OSError as error:
            raise DatasetError(f"{video} cannot be read: {error.strerror}") from error
        facts = [str(video.resolve()), status.st_size, status.st_mtime_ns, self._key]
        digest = hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:20]
        return self.folder / f"{digest}.npy"


@lru_cache(maxsize=4)
def _order(seed: int, epoch: int, count: int) -> NDArray[np.int64]:
    return np.random.default_rng([seed, 2, epoch]).permutation(count)


class SampleOrder:
    """Random order, without end, of a number of samples.

    Attributes:
        seed: seed of the order.

    """

    seed: int

    def __len__(self) -> int:
        """Return the number of samples."""
        raise NotImplementedError

    def fingerprint(self) -> str:
        """Return a digest of the values of the samples; empty if it is not known."""
        return ""

    def index(self, number: int) -> int:
        """Return the row of sample `number` of the run; each epoch has another order."""
        epoch, position = divmod(number, len(self))
        return int(_order(self.seed, epoch, len(self))[position])

    def evenly_spaced(self, count: int) -> list[int]:
        """Return the rows of up to `count` samples, spread over all episodes."""
        return evenly_spaced(len(self), count)


def evenly_spaced(total: int, count: int) -> list[int]:
    """Return up to `count` of the numbers below `total`, evenly spaced."""
    numbers = np.linspace(0, total - 1, min(count, total)).round()
    return np.unique(numbers).astype(int).tolist()


@dataclass(frozen=True)
class Samples(SampleOrder):
    """All samples of some episodes.

    Attributes:
        episodes: the episodes.
        rows: [N, 2], episode and time step of each sample.
        instructions: texts of the rows of each episode.
        seed: seed of the order.

    """

    episodes: Sequence[Episode]
    rows: NDArray[np.int64]
    instructions: Sequence[tuple[str, ...]]
    seed: int

    @classmethod
    def of(
        cls,
        recordings: Sequence[Recording],
        store: FrameStore,
        layout: DataLayout,
        padding: str,
        seed: int,
    ) -> "Samples":
        """Return the samples of recordings; `padding` as in the settings.

        Raises:
            DatasetError: no episode is long enough.

        """
        episodes, rows = [], []
        for number, recording in enumerate(recordings):
            action = dict(recording.action)
            if padding == "repeat":
                action = {
                    group: np.concatenate([values, np.repeat(values[-1:], layout.horizon, axis=0)])
                    for group, values in action.items()
                }
            images = {view: store.frames(recording, view) for view in layout.views}
            episodes.append(Episode(images, recording.state, action, "", recording.labels))
            usable = len(recording) - (layout.horizon - 1 if padding == "none" else 0)
            rows += [(number, row) for row in range(usable)]
        if not rows:
            raise DatasetError(
                f"no episode has the {layout.horizon} rows of a chunk: use another padding than "
                "'none', or a smaller horizon"
            )
        texts = [recording.instructions for recording in recordings]
        return cls(episodes, np.array(rows), texts, seed)

    def __len__(self) -> int:
        return len(self.rows)

    def fingerprint(self) -> str:
        """See `SampleOrder.fingerprint`: of states, actions and instructions."""
        digest = hashlib.sha256()
        for episode, texts in zip(self.episodes, self.instructions, strict=True):
            for values in (*episode.state.values(), *episode.action.values()):
                digest.update(np.ascontiguousarray(values).tobytes())
            digest.update("\n".join(texts).encode())
        return digest.hexdigest()

    def at(self, index: int) -> tuple[Episode, int]:
        """Return the episode, with the instruction of the row, and the time step of a sample."""
        number, row = self.rows[index].tolist()
        episode = self.episodes[number]
        text = self.instructions[number][row]
        return (
            Episode(episode.images, episode.state, episode.action, text, episode.labels),
            row,
        )
