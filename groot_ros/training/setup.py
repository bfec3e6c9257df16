# SPDX-License-Identifier: Apache-2.0
"""Prepare a run: layout of the data, statistics, and the checkpoint that it starts from."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import numpy as np

from groot_ros.checkpoint.locate import find_checkpoint
from groot_ros.core.share import robot_path
from groot_ros.datasets import DatasetError
from groot_ros.datasets.reader import Dataset
from groot_ros.families.family import Checkpoint, EmbodimentSummary, Family, PolicySpec
from groot_ros.families.registry import find_family, get_family
from groot_ros.families.training import DataLayout, EpisodeTrainer
from groot_ros.robot import RobotContract, load_contract
from groot_ros.training.data import open_datasets, read_recordings, split
from groot_ros.training.run_data import EpisodeData, OpenData, RecordedEpisodes
from groot_ros.training.settings import SMALL, TrainSettings
from groot_ros.training.statistics import compare, data_statistics, outliers

Print = Callable[[str], None]

#: Horizon where neither the settings nor the checkpoint state one.
_HORIZON = 16


@dataclass(frozen=True)
class Prepared:
    """Data and base checkpoint of a run.

    Attributes:
        family: family of the checkpoint.
        base: directory with the checkpoint's files for these data, and links to its weights.
        open_data: opens the data for a trainer of the base checkpoint.

    """

    family: Family
    base: Path
    open_data: OpenData


def prepare(settings: TrainSettings, out: Path, say: Print, write: bool = True) -> Prepared:
    """Read the data, and write the checkpoint that the run starts from to `out`/base.

    Args:
        settings: settings of the run.
        out: directory of the run.
        say: receives lines about the data, for the user.
        write: False if another process has written the files.

    Raises:
        DatasetError, ConfigError, CheckpointError, ContractError: something is missing, damaged or
            does not fit; one line.

    """
    small = settings.checkpoint == SMALL
    family = get_family(settings.family) if small else find_family(_source(settings))
    paths = [Path(path).expanduser() for path in settings.data]
    for place, count in Counter(path.resolve() for path in paths).items():
        # Its episodes would be trained as well as held out.
        if count > 1:
            raise DatasetError(f"{place} is given {count} times: give each data set once")
    data = family.read_data(paths)
    if data is None:
        return _prepare_recordings(settings, family, out, say, write)
    settings.refuse_chunk_settings(family.name)
    base = out / "base"
    if write and not base.is_dir():
        data.write_checkpoint(None if small else _source(settings), settings.seed, base)
    parts = split(data.episodes, settings.held_out, settings.seed)
    trained, held_out = ([data.episodes[i] for i in part] for part in parts)
    _say_parts(say, trained, held_out)
    return Prepared(
        family,
        base,
        lambda trainer: EpisodeData(
            trained,
            held_out,
            cast(EpisodeTrainer, trainer),
            settings.seed,
            settings.validation_samples,
        ),
    )


def _prepare_recordings(
    settings: TrainSettings, family: Family, out: Path, say: Print, write: bool
) -> Prepared:
    """Prepare a run on LeRobot data sets."""
    datasets = open_datasets(settings.data)
    small = settings.checkpoint == SMALL
    known = None if small else _embodiment(family, settings)
    layout = _layout(settings, datasets, known.spec if known else None, known)
    recordings = read_recordings(datasets, layout, labels=settings.auxiliary > 0)
    parts = split(recordings, settings.held_out, settings.seed)
    trained, held_out = ([recordings[i] for i in part] for part in parts)
    _say_parts(say, trained, held_out)
    ranges = known.ranges if known else ()
    references = {r.group: r.relative_to for r in ranges if r.relative_to}
    references = {group: references.get(group, group) for group in layout.relative}
    statistics = data_statistics(trained, layout, references)
    for line in (*compare(statistics, layout, ranges), *outliers(trained, statistics)):
        say(line)
    robot = _robot(settings, datasets)
    _warn_of_rate(datasets[0], robot, say)
    _warn_of_groups(layout, robot, say)
    if settings.statistics == "recompute":
        layout = replace(layout, statistics=statistics)
    elif known is None:
        raise ValueError(
            f"statistics is keep, but {settings.checkpoint} has none of '{settings.embodiment}'"
        )
    else:
        _require_same_actions(layout, known, references)
    texts = {text for recording in recordings for text in recording.instructions}
    layout = replace(layout, instructions=tuple(sorted(texts)))
    base = out / "base"
    if write:
        new = small and _new_small(family, layout, settings, out)
        family.write_adapted(
            new or _source(settings),
            layout,
            base,
            changes=settings.changes,
            augmentation=settings.augmentation,
            assets=settings.backbone_assets or None,
        )
    # A family that trains on LeRobot data sets predicts chunks.
    opened = cast(Checkpoint, family.open(base, embodiment=settings.embodiment))
    frames = Path(settings.frame_cache).expanduser() if settings.frame_cache else out / "frames"
    return Prepared(
        family,
        base,
        RecordedEpisodes(layout, trained, held_out, robot, opened.processor, settings, frames),
    )


def _source(settings: TrainSettings) -> Path:
    return find_checkpoint(settings.checkpoint)


def _new_small(family: Family, layout: DataLayout, settings: TrainSettings, out: Path) -> Path:
    path = out / "new"
    # A run that is resumed starts from the same weights.
    return path if path.is_dir() else family.small_checkpoint(layout, settings.seed, path)


def _embodiment(family: Family, settings: TrainSettings) -> EmbodimentSummary | None:
    """Return what the checkpoint has of the embodiment; None if it has nothing."""
    summary = family.describe(_source(settings), assets=settings.backbone_assets or None)
    return next((e for e in summary.embodiments if e.tag == settings.embodiment), None)


def _layout(
    settings: TrainSettings,
    datasets: Sequence[Dataset],
    spec: PolicySpec | None,
    known: EmbodimentSummary | None,
) -> DataLayout:
    """Combine the settings, the checkpoint and the data to a layout without statistics."""
    dataset = datasets[0]
    modality = dataset.description.modality
    views = settings.views or (spec.views if spec else tuple(modality["video"]))
    for view in views:
        dataset.camera(view)
    groups: dict[str, dict[str, int]] = {}
    for kind in ("state", "action"):
        names = tuple(getattr(spec, f"{kind}_groups")) if spec else tuple(modality[kind])
        groups[kind] = {}
        for name in names:
            _, begin, end = dataset.group_slice(kind, name)
            groups[kind][name] = end - begin
    relative = frozenset(settings.relative)
    if not relative and known is not None:
        relative = frozenset(r.group for r in known.ranges if r.relative_to)
    for group in sorted(relative):
        if group not in groups["action"]:
            known_groups = ", ".join(groups["action"])
            raise DatasetError(
                f"relative: there is no action group '{group}', the data have {known_groups}"
            )
        if spec is not None and spec.action_space.get(group) == "pose":
            raise DatasetError(
                f"action group '{group}' is a relative pose of an end effector, of which the "
                "statistics cannot be computed: use joints"
            )
        width = groups["state"].get(group)
        if known is None and width != groups["action"][group]:
            raise DatasetError(
                f"relative: state and action group '{group}' differ in columns ({width} and "
                f"{groups['action'][group]})"
            )
    horizon = settings.horizon or (spec.horizon if spec else _HORIZON)
    if settings.max_delay >= horizon:
        raise ValueError(
            f"max_delay is {settings.max_delay}, but must be less than the {horizon} steps of a "
            "chunk: no step would be left to learn"
        )
    return DataLayout(
        settings.embodiment,
        views,
        groups["state"],
        groups["action"],
        horizon,
        relative,
    )


def _robot(settings: TrainSettings, datasets: Sequence[Dataset]) -> RobotContract | None:
    if settings.robot:
        return load_contract(robot_path(settings.robot))
    return datasets[0].description.robot_contract()


def _say_parts(say: Print, trained: Sequence[object], held_out: Sequence[object]) -> None:
    without = "" if held_out else ": there will be no error on them, and no checkpoint `best`"
    say(f"episodes: {len(trained)} trained, {len(held_out)} held out{without}")


def _warn_of_groups(layout: DataLayout, robot: RobotContract | None, say: Print) -> None:
    """Say if the robot does not have the action groups: their errors cannot be in rad."""
    if robot is None:
        return
    if missing := [group for group in layout.action_groups if group not in robot.action_groups]:
        say(
            f"warning: robot '{robot.robot}' has no action group {', '.join(missing)}: errors are "
            "in the units of the data"
        )


def _require_same_actions(
    layout: DataLayout, known: EmbodimentSummary, references: Mapping[str, str]
) -> None:
    """Raise ValueError if the checkpoint's statistics are of other actions than the layout's."""
    if known.spec is not None and layout.horizon != known.spec.horizon:
        raise ValueError(
            f"statistics is keep, but those of the checkpoint are of {known.spec.horizon} steps, "
            f"not of {layout.horizon}: leave out horizon, or statistics"
        )
    own = {r.group: r.relative_to for r in known.ranges if r.relative_to}
    if own != dict(references):
        raise ValueError(
            "statistics is keep, but in the checkpoint other action groups are relative "
            f"({', '.join(sorted(own)) or 'none'}): leave out relative, or statistics"
        )


def _warn_of_rate(dataset: Dataset, robot: RobotContract | None, say: Print) -> None:
    """Say if the rate of the data is not that of the robot: a chunk would last another time."""
    if robot is not None and not np.isclose(1.0 / dataset.fps, robot.action_dt, rtol=0.01):
        say(
            f"warning: {dataset.path} has {dataset.fps:g} rows per second, but action_dt of robot "
            f"'{robot.robot}' is {robot.action_dt:g} s: set it to {1.0 / dataset.fps:.4g}"
        )
