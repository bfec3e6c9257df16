# SPDX-License-Identifier: Apache-2.0
"""Training data of tasks with prompts: one file per episode, with the scripted expert's actions.

docs/reference/datasets.md describes the arrays.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from groot_ros.bags.parallel import EpisodeResult, map_episodes
from groot_ros.datasets import DatasetError
from groot_ros.datasets.writer import new_folder
from groot_ros.rollout.pose_bins import BINS, from_bins, to_bins
from groot_ros.rollout.prompt_episode import (
    END_EFFECTOR,
    VIEWS,
    HiddenObjectError,
    identities,
    objects_of,
    prompt_table,
    take_pictures,
)
from groot_ros.rollout.simulation import COLLECTED, episode_rng
from groot_ros.sim.prompt_scene import table_area
from groot_ros.sim.prompt_task import oracle
from groot_ros.sim.tasks import load_prompt_task
from groot_ros.vision.objects import Objects, View

FORMAT, VERSION = "groot_ros_vima", 1
#: Scenes that are tried for one episode before it is given up.
_ATTEMPTS = 10


@dataclass(frozen=True)
class PromptCollectSettings:
    """Settings of a collection.

    Attributes:
        task: name of the task.
        seed: episode i has the same scene for the same seed.
        images: write the images as well, not only the objects that are cut out of them.

    """

    task: str
    seed: int = 0
    images: bool = False


@dataclass(frozen=True)
class PromptCollection:
    """Result of a collection.

    Attributes:
        episodes: number of the episodes that were written.
        steps: number of their actions.
        failures: scenes in which the expert failed; others took their place.
        failed: results of the episodes that could not be recorded.

    """

    episodes: int
    steps: int
    failures: int
    failed: Sequence[EpisodeResult[Any]]


def collect_prompts(
    settings: PromptCollectSettings,
    episodes: int,
    out: Path,
    *,
    jobs: int | None = None,
    dask: str = "",
) -> PromptCollection:
    """Record episodes as episode_000000.npz and so on, and meta.json.

    Only pairs of shape and texture that are not held out occur in them.

    Args:
        settings: what is recorded.
        episodes: number of episodes.
        out: folder of the data; must not exist yet.
        jobs: local processes at a time; None = one per CPU.
        dask: address of a Dask cluster; empty = local processes.

    Raises:
        ValueError: there is no such task.
        DatasetError: `out` exists, or no episode could be recorded.

    """
    task = load_prompt_task(settings.task)
    with new_folder(out) as folder:
        results = map_episodes(
            partial(record_prompt_episode, settings=settings, folder=folder.absolute()),
            range(episodes),
            names=[f"episode {i}" for i in range(episodes)],
            label=f"recording {settings.task}",
            jobs=jobs,
            dask=dask,
            paths=[folder],
        )
        recorded = [result.value for result in results if result.value is not None]
        if not recorded:
            raise DatasetError(f"none of the {episodes} episodes could be recorded, see above")
        meta = {
            "format": FORMAT,
            "version": VERSION,
            "tasks": [settings.task],
            "levels": ["placement"],
            "seed": settings.seed,
            "episodes": len(recorded),
            "words": list(task.words),
            "views": list(VIEWS),
            "bins": {part: list(bins) for part, bins in BINS.items()},
            "table": {"x": list(table_area().x), "y": list(table_area().y)},
        }
        (folder / "meta.json").write_text(json.dumps(meta, indent=2) + "\n", encoding="utf-8")
    return PromptCollection(
        len(recorded),
        sum(steps for steps, _ in recorded),
        sum(failures for _, failures in recorded),
        [result for result in results if result.failed],
    )


def record_prompt_episode(
    index: int, settings: PromptCollectSettings, folder: Path
) -> tuple[int, int]:
    """Record one episode as a file in a folder.

    Returns:
        The number of actions, and of scenes in which the expert failed before.

    Raises:
        DatasetError: the expert failed in every scene that was tried.

    """
    for attempt in range(_ATTEMPTS):
        arrays = _episode(index, attempt, settings)
        if arrays is not None:
            path = folder / f"episode_{index:06d}.npz"
            np.savez_compressed(path, allow_pickle=False, **arrays)  # type: ignore[arg-type]
            return len(arrays["actions.pose0_position"]), attempt
    raise DatasetError(f"the expert failed in each of {_ATTEMPTS} scenes")


def _episode(
    index: int, attempt: int, settings: PromptCollectSettings
) -> dict[str, NDArray[Any]] | None:
    """Return the arrays of an episode; None if the expert fails or a view hides an object."""
    rng = episode_rng(settings.seed, index, COLLECTED, attempt)
    scene = load_prompt_task(settings.task).scene(rng)
    table = prompt_table()
    table.reset(scene)
    views: list[dict[str, View]] = []
    pictures: list[Objects] = []
    actions: list[dict[str, NDArray[np.int64]]] = []
    try:
        prompt = {name: objects_of(take_pictures(name), name) for name in scene.pictures}
        for step, move in enumerate(scene.moves):
            views.append(take_pictures())
            pictures.append(objects_of(views[-1]))
            actions.append(to_bins(*oracle(table, step)))
            carried = table.carry(*from_bins(actions[-1]))
            if carried != move.name or not table.fulfilled(move):
                return None
    except HiddenObjectError:
        return None
    if not table.succeeded:
        return None
    arrays: dict[str, NDArray[Any]] = {
        "task": np.array(settings.task),
        "prompt.text": np.array(scene.text),
        "prompt.names": np.array(list(scene.pictures)),
        "end_effector": np.array(END_EFFECTOR),
        "objects.ids": np.stack([identities(objects) for objects in pictures]),
    }
    numbers = {name: number for number, name in enumerate(scene.items, start=1)}
    arrays["actions.pick_id"] = np.array([numbers[move.name] for move in scene.moves])
    arrays["actions.place_id"] = np.array([numbers.get(move.into, 0) for move in scene.moves])
    for part in BINS:
        arrays[f"actions.{part}"] = np.stack([action[part] for action in actions])
    for view in VIEWS:
        for kind in ("crops", "boxes", "mask"):
            steps = [getattr(objects, kind)[view] for objects in pictures]
            arrays[f"objects.{view}.{kind}"] = _stored(np.stack(steps))
            for name, objects in prompt.items():
                arrays[f"prompt.{name}.{view}.{kind}"] = _stored(getattr(objects, kind)[view])
        if settings.images:
            images = np.stack([own[view].image for own in views])
            arrays[f"rgb.{view}"] = images.transpose(0, 3, 1, 2)
    for name, objects in prompt.items():
        arrays[f"prompt.{name}.ids"] = identities(objects, name)
    return arrays


def _stored(values: NDArray[Any]) -> NDArray[Any]:
    """Return boxes as whole numbers, which they are in images of VIMA's size."""
    return np.rint(values).astype(np.int64) if values.dtype.kind == "f" else values
