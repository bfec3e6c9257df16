# SPDX-License-Identifier: Apache-2.0
"""Objects and containers of the tasks with prompts of words and pictures, and their textures."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

import mujoco
import numpy as np

from groot_ros.core.share import PROMPT_ROBOT
from groot_ros.sim.model import RobotModel, shipped_model

#: Name of the robot contract and of the model.
ROBOT = PROMPT_ROBOT
#: What a suction cup picks up, and what it is put into.
SHAPES = ("block", "bar", "round", "triangle", "cross", "letter_l", "letter_t", "star")
CONTAINERS = ("bowl", "pan", "crate", "ring", "plate")
#: Textures as prompts name them; the material has underscores for the spaces.
TEXTURES = (
    *("red", "green", "blue", "yellow", "purple", "orange", "pink", "white"),
    *("red checkered", "blue checkered", "green dotted", "purple dotted"),
)
#: Prefixes of the bodies of a shape: it can be on the table twice.
COPIES = ("a_", "b_")

#: What is new in a scene: where things are, or also which textures the named objects have.
Level = Literal["placement", "combination"]
LEVELS: tuple[Level, ...] = ("placement", "combination")


@dataclass(frozen=True, order=True)
class Item:
    """Kind of an object: its shape and its texture."""

    shape: str
    texture: str

    @property
    def is_container(self) -> bool:
        """Return whether things can be put into it."""
        return self.shape in CONTAINERS

    @property
    def is_held_out(self) -> bool:
        """Return whether training data never contain this pair of shape and texture.

        Two textures of every shape are held out; every texture is held out for some shape and seen
        with others.
        """
        number = (*SHAPES, *CONTAINERS).index(self.shape)
        return (TEXTURES.index(self.texture) + number) % 6 == 0

    @property
    def material(self) -> str:
        """Return the name of the texture's material in the model."""
        return self.texture.replace(" ", "_")


def items(shapes: Iterable[str], *, held_out: bool) -> list[Item]:
    """Return all pairs of some shapes that are held out from training, or all others."""
    every = [Item(shape, texture) for shape in shapes for texture in TEXTURES]
    return [item for item in every if item.is_held_out == held_out]


def choose_item(
    rng: np.random.Generator, candidates: Sequence[Item], others: Iterable[Item] = ()
) -> Item:
    """Draw an item that differs from others, of a shape with a free body.

    Raises:
        ValueError: there is no such item.

    """
    taken = list(others)
    shapes = [item.shape for item in taken]
    free = [
        item for item in candidates if item not in taken and shapes.count(item.shape) < len(COPIES)
    ]
    if not free:
        raise ValueError(f"no item is left that differs from {taken}")
    return free[int(rng.integers(len(free)))]


@cache
def radius(shape: str) -> float:
    """Return the radius of the circle around the axis of a body that contains it, m."""
    model = _model()
    body = model.body(COPIES[0] + shape)
    farthest = 0.0
    for geom in range(body.geomadr[0], body.geomadr[0] + body.geomnum[0]):
        centre, half = model.geom_aabb[geom, :3], model.geom_aabb[geom, 3:]
        rotation = np.zeros(9)
        mujoco.mju_quat2Mat(rotation, model.geom_quat[geom])
        signs = np.stack(np.meshgrid(*[(-1, 1)] * 3), -1).reshape(-1, 3)
        corners = model.geom_pos[geom] + (centre + signs * half) @ rotation.reshape(3, 3).T
        farthest = max(farthest, float(np.linalg.norm(corners[:, :2], axis=1).max()))
    return farthest


@cache
def _model() -> mujoco.MjModel:
    return RobotModel.load(shipped_model(ROBOT)).mujoco
