# SPDX-License-Identifier: Apache-2.0
"""Merge data sets, and split one; videos are copied as they are."""

from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np

from groot_ros.datasets import DatasetError
from groot_ros.datasets.features import Format
from groot_ros.datasets.reader import Dataset
from groot_ros.datasets.writer import new_folder, write_dataset


def merge_datasets(paths: Sequence[Path], out: Path, layout: Format = "v2.1") -> int:
    """Write the episodes of all data sets into a new one; return their number.

    One data set is allowed: it is written in another version, or with new statistics.

    Raises:
        DatasetError: they differ in rate, columns, groups or robot, or one cannot be read.

    """
    datasets = [Dataset(path) for path in paths]
    first = datasets[0]
    for other in datasets[1:]:
        if difference := first.description.difference(other.description):
            raise DatasetError(f"{first.path} and {other.path} do not fit: {difference}")
    files = [episode.files() for dataset in datasets for episode in dataset.episodes]
    with new_folder(out) as folder:
        write_dataset(folder, first.description, files, layout)
    return len(files)


def split_dataset(
    path: Path, chosen: Collection[int], first: Path, second: Path, layout: Format = "v2.1"
) -> tuple[int, int]:
    """Write the chosen episodes into `first` and all others into `second`; return their numbers.

    Raises:
        DatasetError: there is no such episode, or one of both would be empty.

    """
    dataset = Dataset(path)
    known = {episode.number for episode in dataset.episodes}
    if unknown := sorted(set(chosen) - known):
        raise DatasetError(f"{path} has no episode {unknown[0]}: it has 0 to {max(known)}")
    if not chosen or len(set(chosen)) == len(known):
        raise DatasetError(
            f"{path} has {len(known)} episodes, and {len(set(chosen))} were chosen: one of the two "
            "data sets would be empty"
        )
    parts = [
        [e.files() for e in dataset.episodes if (e.number in chosen) is wanted]
        for wanted in (True, False)
    ]
    with new_folder(first) as one, new_folder(second) as other:
        write_dataset(one, dataset.description, parts[0], layout)
        write_dataset(other, dataset.description, parts[1], layout)
    return len(parts[0]), len(parts[1])


def random_share(path: Path, share: float, seed: int) -> list[int]:
    """Choose this share of the episodes at random, at least one and not all if there are several.

    Raises:
        DatasetError: the share is not between 0 and 1.

    """
    if not 0.0 < share < 1.0:
        raise DatasetError(f"the share must be between 0 and 1, not {share:g}")
    numbers = [episode.number for episode in Dataset(path).episodes]
    count = min(max(1, round(share * len(numbers))), max(1, len(numbers) - 1))
    chosen = np.random.default_rng(seed).permutation(numbers)[:count]
    return sorted(int(number) for number in chosen)


def parse_episodes(text: str) -> list[int]:
    """Parse "0-9,12" into episode numbers; DatasetError if it has another form."""
    numbers: list[int] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise DatasetError(f"episodes must look like 0-9,12, not '{text}'")
        numbers += range(int(first), int(last if dash else first) + 1)
    return sorted(set(numbers))
