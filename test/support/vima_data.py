# SPDX-License-Identifier: Apache-2.0
"""Training data of VIMA with drawn things on a table instead of a simulator."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from groot_ros.vision.objects import Objects, View, find_objects, stack

SIZE = (128, 256)
VIEWS = ("front", "top")
BINS = {
    "pose0_position": (50, 100),
    "pose0_rotation": (50, 50, 50, 50),
    "pose1_position": (50, 100),
    "pose1_rotation": (50, 50, 50, 50),
}
TEXTS = {
    1: "Put the {dragged_obj} into the {base_obj}.",
    2: "Put the {dragged_obj} and then the {dragged_obj_1} into the {base_obj}.",
}
WORDS = (".", "and", "into", "put", "the", "then")
#: No rotation as bins of a quaternion x, y, z, w.
IDENTITY = (25, 25, 25, 49)
SHAPES = 3
COLOURS = ((220, 60, 50), (60, 160, 70), (70, 90, 210), (225, 190, 60), (160, 80, 180))


def write_vima_data(
    path: Path,
    episodes: int = 8,
    things: int = 3,
    steps: int = 1,
    seed: int = 0,
    identities: bool = True,
) -> Path:
    """Write episodes in which one thing, or two things one after the other, go into another.

    Args:
        path: directory to create.
        episodes: number of episodes.
        things: things on the table.
        steps: 1 or 2 moves.
        seed: seed of all random values.
        identities: store which things in prompt and scene are the same.

    """
    path.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    for number in range(episodes):
        arrays = _episode(rng, things, steps)
        if not identities:
            arrays = {name: a for name, a in arrays.items() if not name.endswith(".ids")}
        np.savez(path / f"episode_{number:06d}.npz", **arrays)
    meta = {
        "format": "groot_ros_vima",
        "version": 1,
        "tasks": ["vima/put_into"],
        "words": list(WORDS),
        "views": list(VIEWS),
        "bins": {part: list(bins) for part, bins in BINS.items()},
        "episodes": episodes,
        "seed": seed,
    }
    (path / "meta.json").write_text(json.dumps(meta), encoding="utf-8")
    return path


def _episode(rng: np.random.Generator, things: int, steps: int) -> dict[str, NDArray]:
    kinds = rng.permutation(SHAPES * len(COLOURS))[:things]
    # On a grid, so that no thing hides another one.
    cells = rng.permutation(12)[:things]
    places = np.stack(
        [
            cells // 4 * 16 + rng.integers(2, 13, things),
            cells % 4 * 25 + rng.integers(3, 22, things),
        ],
        axis=1,
    )
    moved, base = list(range(steps)), things - 1
    pictures, picks, drops = [], [], []
    for step in range(steps):
        pictures.append(_picture(kinds, places))
        picks.append(places[moved[step]].copy())
        drops.append(places[base].copy())
        places[moved[step]] = np.clip(places[base] + (1, 1 + step), 0, (49, 99))
    arrays = {
        "task": np.array("put_into" if steps == 1 else "two_moves"),
        "end_effector": np.array("suction"),
        "prompt.text": np.array(TEXTS[steps]),
        "actions.pose0_position": np.array(picks),
        "actions.pose1_position": np.array(drops),
        "actions.pose0_rotation": np.array([IDENTITY] * steps),
        "actions.pose1_rotation": np.array([IDENTITY] * steps),
        **_arrays("objects.", stack(pictures)),
        "objects.ids": np.tile(np.arange(1, things + 1), (steps, 1)),
        "actions.pick_id": np.array(moved) + 1,
        "actions.place_id": np.array([base + 1] * steps),
    }
    named = {"dragged_obj": 0, "base_obj": base, "dragged_obj_1": 1}
    names = [name for name in named if f"{{{name}}}" in TEXTS[steps]]
    for name in names:
        thing = named[name]
        shown = _picture(kinds[thing : thing + 1], np.array([[25, 50]]))
        arrays |= _arrays(f"prompt.{name}.", shown)
        arrays[f"prompt.{name}.ids"] = np.array([thing + 1])
    return {**arrays, "prompt.names": np.array(names)}


def _arrays(prefix: str, objects: Objects) -> dict[str, NDArray]:
    return {
        f"{prefix}{view}.{kind}": getattr(objects, kind)[view]
        for view in VIEWS
        for kind in ("crops", "boxes", "mask")
    }


def _picture(kinds: Sequence[int] | NDArray, places: NDArray) -> Objects:
    """Draw things at bins of the table, from above and from the front, where far ones are small."""
    views = {}
    for view in VIEWS:
        image, labels = np.full((*SIZE, 3), 90, np.uint8), np.zeros(SIZE, np.uint8)
        for number, (kind, (x, y)) in enumerate(zip(kinds, places, strict=True), 1):
            if view == "top":
                down, right, half = 12 + 2 * x, 20 + 2.2 * y, 9
            else:
                scale = 0.6 + 0.4 * x / 50
                down, right, half = 30 + 1.5 * x, 128 + scale * 2.2 * (y - 50), 10 * scale
            rows, columns = np.indices(SIZE)
            inside = _shape(kind % SHAPES, (rows - down) / half, (columns - right) / half)
            image[inside], labels[inside] = COLOURS[kind // SHAPES], number
        views[view] = View(image, labels)
    return find_objects(views, range(1, len(kinds) + 1), allow_hidden=True)


def _shape(kind: int, down: NDArray, right: NDArray) -> NDArray[np.bool_]:
    if kind == 0:
        return np.maximum(abs(down), abs(right)) < 1
    if kind == 1:
        return down**2 + right**2 < 1
    return (abs(right) < 0.35) & (abs(down) < 1) | (abs(down) < 0.35) & (abs(right) < 1)
