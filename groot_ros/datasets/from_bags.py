# SPDX-License-Identifier: Apache-2.0
"""Convert bags into a data set: each bag in its own process, then all episodes into one folder."""

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from groot_ros.bags import BagError
from groot_ros.bags.episode import Outcome, read_episode
from groot_ros.bags.parallel import EpisodeResult, map_episodes
from groot_ros.bags.recording import RobotBag
from groot_ros.datasets import DatasetError
from groot_ros.datasets.bag_videos import video_name, write_videos
from groot_ros.datasets.episodes import EpisodeFiles
from groot_ros.datasets.features import (
    ACTION,
    IMAGES,
    INTERVENTION,
    STAMP,
    STATE,
    SUCCESS,
    Description,
    Format,
    describe,
    to_table,
)
from groot_ros.datasets.rows import (
    COMMANDS,
    EpisodeRows,
    RowSettings,
    action_widths,
    grid_offsets,
    runs_of_rows,
)
from groot_ros.datasets.trimming import episode_problem, trim_idle
from groot_ros.datasets.writer import new_folder, write_dataset
from groot_ros.robot import RobotContract, load_contract

#: A rate may differ by this share from 1 / action_dt, whose digits are limited.
_RATE_TOLERANCE = 2e-3


@dataclass(frozen=True)
class ConversionSettings:
    """Settings of a conversion.

    Attributes:
        rows: fps 0 = one row per action_dt of the contract.
        robot: file of the robot contract; None = the contract in each bag.
        leader: topic with the joint states of a leader arm; None = none.
        outcome: bags with another outcome are left out; None = all are converted.

    """

    rows: RowSettings = field(default_factory=lambda: RowSettings(fps=0))
    robot: Path | None = None
    leader: str | None = None
    outcome: Outcome | None = None


@dataclass(frozen=True)
class ConvertedBag:
    """Episodes of one bag in files, and what was left out of it, one line each."""

    description: Description
    episodes: tuple[EpisodeFiles, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Conversion:
    """Result of a conversion.

    Attributes:
        description: of the data set.
        episodes: in their order; their files were moved.
        notes: what was left out, one line each.
        failed: bags without an episode.

    """

    description: Description
    episodes: Sequence[EpisodeFiles]
    notes: Sequence[str]
    failed: Sequence[EpisodeResult[ConvertedBag]]


def convert_bags(
    bags: Sequence[Path],
    out: Path,
    settings: ConversionSettings,
    layout: Format = "v2.1",
    *,
    jobs: int | None = None,
    dask: str = "",
) -> Conversion:
    """Write a data set with the episodes of these bags, in their order.

    A bag that cannot be converted is reported, and the others are converted.

    Args:
        bags: directories or files.
        out: folder of the data set; must not exist yet.
        settings: how rows are made.
        layout: version of the format.
        jobs: local processes at a time; None = one per CPU.
        dask: address of a Dask cluster; empty = local processes.

    Raises:
        DatasetError: `out` exists, no bag could be converted, or the bags differ in their robot.

    """
    bags, left_out = _with_outcome(bags, settings.outcome)
    with new_folder(out) as folder:
        staging = folder / "staging"
        staging.mkdir()
        convert = partial(convert_bag, settings=settings, folder=staging.absolute())
        results = map_episodes(
            convert,
            [bag.absolute() for bag in bags],
            names=[str(bag) for bag in bags],
            label="converting",
            jobs=jobs,
            dask=dask,
            paths=[*bags, staging, *([] if settings.robot is None else [settings.robot])],
        )
        converted = [r.value for r in results if r.value is not None]
        failed = [r for r in results if r.value is None]
        if not converted:
            raise DatasetError(f"none of the {len(bags)} bags could be converted, see above")
        first = converted[0].description
        for bag, own in zip([r.name for r in results if not r.failed], converted, strict=True):
            if difference := first.difference(own.description):
                raise DatasetError(
                    f"bag {bag} does not fit the first one: {difference}; convert them into "
                    "different data sets"
                )
        episodes = [episode for own in converted for episode in own.episodes]
        notes = [*left_out, *(note for own in converted for note in own.notes)]
        write_dataset(folder, first, episodes, layout)
        shutil.rmtree(staging)
    return Conversion(first, episodes, notes, failed)


def _with_outcome(
    bags: Sequence[Path], outcome: Outcome | None
) -> tuple[Sequence[Path], list[str]]:
    """Return the bags with this outcome, and a line for each of the others."""
    if outcome is None:
        return bags, []
    chosen, left_out = [], []
    for bag in bags:
        try:
            own = read_episode(bag).outcome
        except BagError:
            # The conversion reports what is wrong with it.
            own = outcome
        if own is outcome:
            chosen.append(bag)
        else:
            left_out.append(f"bag {bag}: left out, its outcome is {own.value}")
    if not chosen:
        raise DatasetError(f"none of the {len(bags)} bags has the outcome {outcome.value}")
    return chosen, left_out


def convert_bag(bag: Path, settings: ConversionSettings, folder: Path) -> ConvertedBag:
    """Write the episodes of one bag as files in a new folder within `folder`.

    Raises:
        BagError: the bag cannot be read, or is one of another robot.
        DatasetError: no episode is left.

    """
    recording = _open(bag, settings).read()
    contract = recording.contract
    own = replace(settings.rows, fps=_rate(contract, settings.rows.fps, bag))
    where = f"bag {bag}"
    try:
        runs, notes = runs_of_rows(recording, own)
    except DatasetError as error:
        raise DatasetError(f"{where}: {error}") from error
    notes = [*recording.repairs, *notes]
    episodes = []
    for rows in runs:
        kept = trim_idle(rows, recording, own, notes) if own.trim_idle else rows
        if problem := episode_problem(kept, recording, own):
            notes.append(f"{rows.span(recording)}: left out, {problem}")
        else:
            episodes.append(kept)
    if not episodes:
        raise DatasetError(f"{where}: no episode is left: {'; '.join(notes) or 'it is empty'}")
    target = Path(tempfile.mkdtemp(prefix=f"{bag.stem}-", dir=folder))
    sizes, statistics = write_videos(recording, episodes, own.fps, target)
    description = describe(
        contract,
        _robot(recording, settings),
        sizes,
        own.fps,
        action_widths(contract),
    )
    files = []
    for number, rows in enumerate(episodes):
        is_last = number == len(episodes) - 1
        files.append(
            _write_rows(recording, rows, description, target, number, statistics[number], is_last)
        )
        notes += [f"{rows.span(recording)}: {line}" for line in _limit_notes(rows, contract)]
    return ConvertedBag(description, tuple(files), tuple(f"{where}: {note}" for note in notes))


def _open(bag: Path, settings: ConversionSettings) -> RobotBag:
    if settings.robot is None:
        contract = read_episode(bag).robot_contract()
    else:
        contract = load_contract(settings.robot)
    # Sources of other joints need not be in the bag.
    groups = list(contract.state_groups) if settings.rows.action == COMMANDS else None
    return RobotBag(bag, contract, groups=groups, leader=settings.leader)


def _robot(bag: RobotBag, settings: ConversionSettings) -> dict[str, str]:
    """Return the content of meta/groot_ros.json."""
    text, file = bag.episode.contract, bag.episode.contract_file
    if settings.robot is not None:
        text, file = settings.robot.read_text(encoding="utf-8"), str(settings.robot.absolute())
    fingerprint = bag.contract.fingerprint(bag.namespace)
    return {"contract": text, "contract_file": file, "fingerprint": fingerprint}


def _rate(contract: RobotContract, fps: int, bag: Path) -> int:
    if fps:
        return fps
    rate = 1.0 / contract.action_dt
    if round(rate) < 1 or abs(round(rate) / rate - 1.0) > _RATE_TOLERANCE:
        raise DatasetError(
            f"bag {bag}: action_dt of robot '{contract.robot}' is {contract.action_dt:g} s, "
            f"{rate:.2f} Hz, which is no integer rate: state one with --fps"
        )
    return round(rate)


def _write_rows(
    bag: RobotBag,
    rows: EpisodeRows,
    description: Description,
    folder: Path,
    number: int,
    statistics: Mapping[str, Any],
    is_last: bool,
) -> EpisodeFiles:
    """Write the columns of an episode; the outcome of the bag is that of its last one."""
    outcome = bag.episode.outcome if is_last else Outcome.UNKNOWN
    success = np.zeros(len(rows), dtype=bool)
    success[-1] = outcome is Outcome.SUCCESS
    columns: dict[str, NDArray[Any]] = {
        STATE: rows.state.astype(np.float32),
        ACTION: rows.action.astype(np.float32),
        # From the first row of the episode: the grid of the bag is rounded elsewhere, by 1 ns, and
        # an episode that becomes a bag and an episode again would not have the same stamps.
        STAMP: rows.times_ns[0] + grid_offsets(len(rows), description.fps),
        INTERVENTION: rows.intervention,
        SUCCESS: success,
        "task_index": np.zeros(len(rows), dtype=np.int64),
    }
    for name, values in columns.items():
        if not np.isfinite(values).all():
            raise DatasetError(f"bag {bag.path}: column '{name}' is not finite")
    path = folder / f"{number}.parquet"
    features = {name: description.all_features[name] for name in columns}
    pq.write_table(to_table(columns, features), path)
    return EpisodeFiles(
        f"bag {bag.path}, {rows.span(bag)}",
        path,
        len(rows),
        {f"{IMAGES}{view}": folder / video_name(number, view) for view in bag.images},
        {0: rows.instruction},
        {"outcome": outcome.value, "bag": bag.path.name},
        statistics,
        owned=True,
    )


def _limit_notes(rows: EpisodeRows, contract: RobotContract) -> list[str]:
    """Return a line for each joint whose state leaves its limits by more than 5 % of the range."""
    lines = []
    column = 0
    for group, joints in contract.state_groups.items():
        values = contract.state_to_si(group, rows.state[:, column : column + len(joints)])
        column += len(joints)
        for i, joint in enumerate(joints):
            limits = contract.joints[joint].limits
            margin = 0.05 * (limits.upper - limits.lower)
            low, high = values[:, i].min(), values[:, i].max()
            if low < limits.lower - margin or high > limits.upper + margin:
                lines.append(
                    f"joint '{joint}' is from {low:.3f} to {high:.3f} "
                    f"{contract.joints[joint].unit}, its limits are {limits.lower:g} to "
                    f"{limits.upper:g}: are the units right?"
                )
    return lines
