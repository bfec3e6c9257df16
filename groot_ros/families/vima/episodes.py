# SPDX-License-Identifier: Apache-2.0
"""Read training data of VIMA: directories with meta.json and one episode_*.npz per episode.

An episode has objects instead of images (crops, boxes and masks of every step and of every picture
of the prompt), and the bins of the action of every step. `groot-ros sim collect --task vima/...`
writes such directories; docs/reference/datasets.md lists the arrays.
"""

import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from groot_ros.core.config_reader import CheckpointError, ConfigError, Fields
from groot_ros.families.vima.actions import TableBounds
from groot_ros.families.vima.config import END_EFFECTORS, PARTS
from groot_ros.families.vima.prompt import MultimodalPrompt
from groot_ros.vision.objects import CROP_SIDE, Objects

FORMAT = "groot_ros_vima"
VERSION = 1
_OBJECTS, _PROMPT, _ACTIONS = "objects.", "prompt.", "actions."
#: Largest number of a thing, which a float32 still represents.
_MAX_IDENTITY = 2**24
#: What an action picks up, and what it is put into.
_MOVED = ("pick_id", "place_id")
#: Dimensions of the arrays of objects in a picture; in the steps, one for the time comes first.
_DIMENSIONS = {"crops": 4, "boxes": 2, "mask": 1}


@dataclass(frozen=True)
class VimaEpisode:
    """One task: its prompt, and objects and action of every step.

    Attributes:
        where: file, for messages.
        task: name of the task; "" if the file does not state it.
        prompt: words and pictures.
        objects: objects of all steps, [T, N, ...].
        actions: part of the action -> bins of its coordinates, int64 [T, 2] or [T, 4].
        end_effector: row of the end effector's table.
        identities: int64 [T, N], which thing a slot shows, 0 for padding; None if it is not stated.
        prompt_identities: name of a placeholder -> int64 [N]; the same thing has the same number
            as in `identities`.
        moved: int64 [T, 2], the thing that each action picks up, and the one that it is put into or
            on, with the numbers of `identities`; 0 = unknown or none.
        bounds: area of the table that the bins of positions divide.

    """

    where: str
    task: str
    prompt: MultimodalPrompt
    objects: Objects
    actions: Mapping[str, NDArray[np.int64]]
    end_effector: int
    identities: NDArray[np.int64] | None = None
    prompt_identities: Mapping[str, NDArray[np.int64]] = field(default_factory=dict)
    moved: NDArray[np.int64] | None = None
    bounds: TableBounds = field(default_factory=TableBounds)

    @property
    def steps(self) -> int:
        """Return the number of steps."""
        return len(self.actions[PARTS[0]])


@dataclass(frozen=True)
class VimaData:
    """Episodes of directories that can be trained together.

    Attributes:
        episodes: the episodes.
        words: all words of the tasks' texts, sorted.
        views: cameras, sorted by name.
        bins: part of the action -> number of bins of each coordinate.

    """

    episodes: tuple[VimaEpisode, ...]
    words: tuple[str, ...]
    views: tuple[str, ...]
    bins: Mapping[str, tuple[int, ...]]

    def write_checkpoint(self, source: Path | None, seed: int, out: Path) -> None:
        """See `families.training.FamilyData.write_checkpoint`."""
        from groot_ros.families.vima.checkpoint import save_network
        from groot_ros.families.vima.policy import load
        from groot_ros.families.vima.small_checkpoint import write_small_checkpoint

        if source is None:
            write_small_checkpoint(self.words, self.views, self.bins, seed, out)
            return
        policy = load(source)
        config = policy.network.config
        for name, own in (("views", self.views), ("bins", dict(self.bins))):
            stated = getattr(config, name)
            if stated != own:
                raise CheckpointError(f"{source}: {name} are {stated}, those of the data are {own}")
        if policy.tokenizer is None:
            raise CheckpointError(f"{source}: has no tokenizer.json, which training needs")
        save_network(policy.network, out, policy.tokenizer)


def read_data(paths: Sequence[Path]) -> VimaData:
    """Read all episodes of some directories.

    Raises:
        ConfigError: a file is missing, damaged or malformed, an episode does not fit its meta.json,
            or the directories differ in views or bins; one line that names the file.

    """
    words: set[str] = set()
    episodes: list[VimaEpisode] = []
    first: tuple[Path, tuple[str, ...], dict[str, tuple[int, ...]]] | None = None
    for path in paths:
        meta = _meta(path)
        views = tuple(sorted(meta.names("views")))
        if len(views) < 2:
            raise meta.error("views", f"must be two cameras or more, not {list(views)}")
        bins = {part: meta.section("bins").items(part, int) for part in PARTS}
        bounds = _bounds(meta)
        if first is None:
            first = path, views, bins
        if (views, bins) != first[1:]:
            raise ConfigError(
                f"{path} and {first[0]} cannot be trained together: their views or bins differ"
            )
        words |= set(meta.names("words"))
        files = sorted(path.glob("episode_*.npz"))
        stated = meta.integer("episodes", at_least=1)
        if len(files) != stated:
            raise ConfigError(
                f"{path} has {len(files)} files episode_*.npz, but meta.json states {stated}: "
                "collect it again"
            )
        # disable=None: no bar where the output is not a terminal.
        for file in tqdm(files, desc=f"reading {path.name}", disable=None):
            episodes.append(read_episode(file, views, bins, bounds))
    assert first is not None, "the caller gives at least one directory"
    return VimaData(tuple(episodes), tuple(sorted(words)), first[1], first[2])


def _meta(path: Path) -> Fields:
    if not path.is_dir():
        raise ConfigError(f"{path}: no such directory")
    if (path / "meta" / "info.json").is_file():
        raise ConfigError(
            f"{path} is a data set of LeRobot, but VIMA is trained on directories of `groot-ros "
            "sim collect --task vima/...`"
        )
    meta = Fields.read(path / "meta.json", error_type=ConfigError)
    meta.expect("format", FORMAT, None)
    version = meta.integer("version")
    if version != VERSION:
        raise meta.error("version", f"is {version}, but this package reads {VERSION}")
    return meta


def _bounds(meta: Fields) -> TableBounds:
    """Return the area of the table; without the section `table` that of VIMA."""
    if not meta.has("table"):
        return TableBounds()
    x, y = (meta.section("table").interval(axis) for axis in ("x", "y"))
    return TableBounds((x[0], y[0]), (x[1], y[1]))


def read_episode(
    file: Path,
    views: Sequence[str],
    bins: Mapping[str, tuple[int, ...]],
    bounds: TableBounds | None = None,
) -> VimaEpisode:
    """Read one episode.

    Args:
        file: npz file.
        views: cameras, sorted by name.
        bins: part of the action -> number of bins of each coordinate.
        bounds: area of the table; None is VIMA's.

    Raises:
        ConfigError: the file is damaged, or an array is missing or malformed.

    """
    try:
        with np.load(file, allow_pickle=False) as stored:
            arrays = {n: stored[n] for n in stored.files if not n.startswith("rgb.")}
    except (OSError, ValueError, zipfile.BadZipFile, EOFError) as error:
        raise ConfigError(f"{file}: is not a readable npz file: {error}") from error
    reader = _Arrays(file, arrays)
    objects = reader.objects(_OBJECTS, views, steps=True)
    names = [str(name) for name in np.atleast_1d(reader.array("prompt.names"))]
    pictures = {name: reader.objects(f"{_PROMPT}{name}.", views) for name in names}
    try:
        prompt = MultimodalPrompt(str(reader.array("prompt.text")), pictures)
    except ValueError as error:
        raise ConfigError(f"{file}: {error}") from error
    steps = len(objects.mask[views[0]])
    known = reader.identities(_OBJECTS, objects)
    return VimaEpisode(
        str(file),
        str(arrays.get("task", "")),
        prompt,
        objects,
        {part: reader.bins(part, steps, bins[part]) for part in PARTS},
        reader.end_effector(),
        known,
        {
            name: found
            for name, picture in pictures.items()
            if (found := reader.identities(f"{_PROMPT}{name}.", picture)) is not None
        },
        reader.moved(steps, known),
        bounds or TableBounds(),
    )


@dataclass(frozen=True)
class _Arrays:
    """Arrays of one file, checked as they are read."""

    file: Path
    found: Mapping[str, NDArray[Any]]

    def error(self, name: str, problem: str) -> ConfigError:
        return ConfigError(f"{self.file}: '{name}' {problem}")

    def array(self, name: str) -> NDArray[Any]:
        if name not in self.found:
            raise self.error(name, "is missing")
        return self.found[name]

    def objects(self, prefix: str, views: Sequence[str], steps: bool = False) -> Objects:
        parts: dict[str, dict[str, NDArray[Any]]] = {}
        for kind, dimensions in _DIMENSIONS.items():
            parts[kind] = {}
            for view in views:
                name = f"{prefix}{view}.{kind}"
                array = self.array(name)
                if array.ndim != dimensions + steps:
                    raise self.error(
                        name, f"must have {dimensions + steps} dimensions, not {list(array.shape)}"
                    )
                parts[kind][view] = array
        sizes = {array.shape[: 1 + steps] for arrays in parts.values() for array in arrays.values()}
        if len(sizes) > 1:
            raise self.error(
                f"{prefix}*", f"have different numbers of steps or objects: {sorted(sizes)}"
            )
        for view, crops in parts["crops"].items():
            size = (3, CROP_SIDE, CROP_SIDE)
            if crops.dtype != np.uint8 or crops.shape[-3:] != size:
                raise self.error(
                    f"{prefix}{view}.crops",
                    f"must be bytes [..., {', '.join(map(str, size))}], "
                    f"not {crops.dtype} {list(crops.shape)}",
                )
            mask = parts["mask"][view].astype(bool)
            if not mask.any(-1).all():
                raise self.error(f"{prefix}{view}.mask", "shows no object")
            if steps and view == views[0] and not mask[0, 0]:
                raise self.error(f"{prefix}{view}.mask", "must begin with an object, not padding")
            boxes = parts["boxes"][view].astype(np.float32)
            if boxes.shape[-1] != 4 or not np.isfinite(boxes).all():
                raise self.error(f"{prefix}{view}.boxes", "must have four finite values per object")
            parts["boxes"][view], parts["mask"][view] = boxes, mask
        return Objects((), parts["crops"], parts["boxes"], parts["mask"])

    def bins(self, part: str, steps: int, counts: tuple[int, ...]) -> NDArray[np.int64]:
        name = f"{_ACTIONS}{part}"
        values = self.array(name)
        if values.shape != (steps, len(counts)) or values.dtype.kind not in "iu":
            raise self.error(
                name,
                f"must be whole numbers {[steps, len(counts)]}, not {values.dtype} "
                f"{list(values.shape)}",
            )
        wrong = np.argwhere((values < 0) | (values >= np.asarray(counts)))
        if len(wrong):
            step, column = wrong[0].tolist()
            raise self.error(
                name,
                f"is {values[step, column]} in step {step}, column {column}: must be from 0 to "
                f"{counts[column] - 1}",
            )
        return values.astype(np.int64)

    def moved(self, steps: int, known: NDArray[np.int64] | None) -> NDArray[np.int64] | None:
        """Return what each action moves, and into what; None if it is not stated.

        Args:
            steps: number of actions.
            known: things that the slots show, [T, N]; None if that is not stated.

        """
        names = [f"{_ACTIONS}{key}" for key in _MOVED]
        stated = [name for name in names if name in self.found]
        if not stated:
            return None
        for name in names:
            values = self.array(name)
            if values.shape != (steps,) or values.dtype.kind not in "iu":
                raise self.error(
                    name,
                    f"must be {steps} whole numbers, not {values.dtype} {list(values.shape)}",
                )
            for step, value in enumerate(values.tolist()):
                if value and known is not None and value not in known[step]:
                    raise self.error(
                        name, f"is {value} in step {step}, which is not in 'objects.ids' (0 = none)"
                    )
        if known is None:
            return None
        return np.stack([self.found[name] for name in names], axis=1).astype(np.int64)

    def end_effector(self) -> int:
        name = str(self.array("end_effector"))
        if name not in END_EFFECTORS:
            raise self.error("end_effector", f"must be {' or '.join(END_EFFECTORS)}, not '{name}'")
        return END_EFFECTORS.index(name)

    def identities(self, prefix: str, objects: Objects) -> NDArray[np.int64] | None:
        """Return which things the slots show; None if not stated, or if views differ in slots."""
        name = f"{prefix}ids"
        first, *others = (objects.mask[view] for view in objects.views)
        if name not in self.found or not all(np.array_equal(first, mask) for mask in others):
            return None
        shape = first.shape
        values = self.found[name]
        if values.shape != shape or values.dtype.kind not in "iu":
            raise self.error(
                name,
                f"must be whole numbers {list(shape)}, not {values.dtype} {list(values.shape)}",
            )
        if values.size and not 0 <= int(values.min()) <= int(values.max()) <= _MAX_IDENTITY:
            raise self.error(name, f"must be from 0 to {_MAX_IDENTITY}")
        return values.astype(np.int64)
