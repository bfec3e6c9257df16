# SPDX-License-Identifier: Apache-2.0
"""Scenes of the tasks with prompts of words and pictures: what is where, and what is to be done."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from groot_ros.core.share import robot_path
from groot_ros.robot import Table, load_contract
from groot_ros.sim.prompt_objects import COPIES, ROBOT, Item, Level, radius
from groot_ros.sim.table import Place

#: Distances of objects from the axis of the base, m: the arm reaches these with the cup down and
#: lifts them by 16 cm.
REACH = (0.32, 0.74)
#: Smallest free space between two objects, m.
_GAP = 0.015
#: Tries to place an object before the scene is drawn again.
_TRIES = 60
#: Name of the picture of the table itself among the labels.
TABLE = ""
#: Where the picture of a single object shows it, m.
_SINGLE = (0.5, 0.0)


@dataclass(frozen=True)
class Move:
    """One move of an object; one of `into` and `to` is given, or both are not: it only turns.

    Attributes:
        name: object to pick up.
        into: container to put it into; empty = none.
        to: position to put it at, m; None = no change.
        turn: angle to turn it by, rad, counterclockwise seen from above.

    """

    name: str
    into: str = ""
    to: tuple[float, float] | None = None
    turn: float = 0.0


@dataclass(frozen=True)
class PromptScene:
    """Start of an episode; all mappings have the names of the objects as keys.

    Attributes:
        text: words and placeholders {name}.
        level: what is new in the scene.
        items: shapes and textures.
        bodies: names of the bodies in the model.
        places: (x, y, yaw), m and rad.
        pictures: placeholder -> (x, y, yaw) of the objects that its picture shows.
        labels: placeholder, or TABLE for the table itself -> label of each object in the images:
            the same in all views, and of no meaning between pictures.
        moves: what is to be done, in the order of the scripted expert.
        in_order: whether each move has to be done before the next one, and not only at the end.

    """

    text: str
    level: Level
    items: Mapping[str, Item]
    bodies: Mapping[str, str]
    places: Mapping[str, Place]
    pictures: Mapping[str, Mapping[str, Place]]
    labels: Mapping[str, Mapping[str, int]]
    moves: tuple[Move, ...]
    in_order: bool = False

    def identities(self, picture: str = TABLE) -> dict[int, int]:
        """Return label in a picture -> number of the object, the same in all pictures."""
        numbers = {name: i for i, name in enumerate(self.items, start=1)}
        return {label: numbers[name] for name, label in self.labels[picture].items()}


@cache
def table_area() -> Table:
    """Return the table of the robot contract."""
    contract = load_contract(robot_path(ROBOT))
    assert contract.table is not None, f"the contract {ROBOT} ships with a table"
    return contract.table


def make_scene(
    rng: np.random.Generator,
    *,
    text: str,
    level: Level,
    items: Mapping[str, Item],
    places: Mapping[str, Place],
    pictures: Mapping[str, Mapping[str, Place]],
    moves: Sequence[Move],
    in_order: bool = False,
) -> PromptScene:
    """Choose the bodies and labels of a scene."""
    bodies: dict[str, str] = {}
    for name, item in items.items():
        copies = [copy + item.shape for copy in COPIES]
        bodies[name] = next(body for body in copies if body not in bodies.values())
    shown: dict[str, Iterable[str]] = {TABLE: places, **pictures}
    labels = {
        picture: dict(zip(names, map(int, rng.permutation(len(list(names))) + 1), strict=True))
        for picture, names in shown.items()
    }
    return PromptScene(text, level, items, bodies, places, pictures, labels, tuple(moves), in_order)


def single(rng: np.random.Generator, name: str) -> dict[str, Place]:
    """Return a picture with one object in the middle of the table, turned at random."""
    return {name: (*_SINGLE, random_yaw(rng))}


def random_yaw(rng: np.random.Generator) -> float:
    """Draw a direction, rad."""
    return float(rng.uniform(-np.pi, np.pi))


def draw_places(
    rng: np.random.Generator,
    items: Mapping[str, Item],
    occupied: Iterable[tuple[Place, Item]] = (),
) -> dict[str, Place] | None:
    """Draw places within reach at which nothing touches; None if there is hardly such a scene.

    Args:
        rng: random numbers.
        items: objects to place.
        occupied: places that have to stay free, and the objects that stand there.

    """
    area = table_area()
    taken = [(place, radius(item.shape)) for place, item in occupied]
    places: dict[str, Place] = {}
    for name, item in items.items():
        own = radius(item.shape)
        for _ in range(_TRIES):
            x = float(rng.uniform(area.x[0] + own, area.x[1] - own))
            y = float(rng.uniform(area.y[0] + own, area.y[1] - own))
            if REACH[0] < np.hypot(x, y) < REACH[1] and all(
                np.hypot(x - other[0], y - other[1]) > own + room + _GAP for other, room in taken
            ):
                break
        else:
            return None
        places[name] = (x, y, random_yaw(rng))
        taken.append((places[name], own))
    return places
