# SPDX-License-Identifier: Apache-2.0
"""Interface of the tasks with prompts of words and pictures, and their scripted expert."""

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

import numpy as np

from groot_ros.sim.arm import SimulatedArm
from groot_ros.sim.prompt_objects import (
    CONTAINERS,
    LEVELS,
    ROBOT,
    SHAPES,
    Item,
    Level,
    choose_item,
    items,
)
from groot_ros.sim.prompt_scene import PromptScene
from groot_ros.sim.prompt_table import PromptTable
from groot_ros.sim.table import Place

_PLACEHOLDER = re.compile(r"\{\w+\}")
#: Tokens of a text: words, and single signs.
_WORD = re.compile(r"\w+|[^\w\s]")


class PromptTask(ABC):
    """A task whose prompt has pictures, with random scenes and a scripted expert.

    Attributes:
        robot: name of the robot contract.
        instructions: all texts of its prompts, with placeholders.

    """

    robot = ROBOT
    instructions: tuple[str, ...]

    @abstractmethod
    def draw(self, rng: np.random.Generator, level: Level) -> PromptScene | None:
        """Draw a scene; None if the objects find no place."""

    def scene(self, rng: np.random.Generator, level: Level = "placement") -> PromptScene:
        """Draw a scene.

        Args:
            rng: random numbers; equal ones give the same scene.
            level: "placement" for pairs of shape and texture that training data have,
                "combination" for named objects whose pairs they never have.

        Raises:
            ValueError: there is no such level.

        """
        if level not in LEVELS:
            raise ValueError(f"level must be {' or '.join(LEVELS)}, not '{level}'")
        while True:
            scene = self.draw(rng, level)
            if scene is not None:
                return scene

    def reset(self, arm: SimulatedArm, rng: np.random.Generator) -> None:
        """Reset an arm at home, in a random scene."""
        PromptTable(arm).reset(self.scene(rng))

    @property
    def words(self) -> tuple[str, ...]:
        """Return all words of the task's prompts, sorted."""
        texts = (_PLACEHOLDER.sub(" ", text) for text in self.instructions)
        return tuple(sorted({word for text in texts for word in _WORD.findall(text.lower())}))


def oracle(table: PromptTable, step: int) -> tuple[Place, Place]:
    """Return where to pick up and where to put down in a step of the scene, (x, y, yaw).

    The yaw of the pick is 0, and that of the place is the angle by which the object turns.
    """
    move = table.scene.moves[step]
    x, y, yaw = table.place(move.name)
    if move.into:
        goal = table.place(move.into)[:2]
    else:
        goal = table.scene.places[move.name][:2] if move.to is None else move.to
    turn = 0.0
    if move.turn:
        turn = table.scene.places[move.name][2] + move.turn - yaw
        turn = (turn + np.pi) % (2 * np.pi) - np.pi
    return (x, y, 0.0), (goal[0], goal[1], turn)


def named_object(
    rng: np.random.Generator,
    level: Level,
    others: Sequence[Item] = (),
    shapes: Sequence[str] = SHAPES,
) -> Item:
    """Draw an object that the prompt names."""
    return choose_item(rng, items(shapes, held_out=level == "combination"), others)


def named_container(rng: np.random.Generator, level: Level, others: Sequence[Item] = ()) -> Item:
    """Draw a container that the prompt names."""
    return choose_item(rng, items(CONTAINERS, held_out=level == "combination"), others)


def add_distractors(
    rng: np.random.Generator,
    named: Mapping[str, Item],
    counts: tuple[int, int],
    shapes: Sequence[str] = (*SHAPES, *CONTAINERS),
) -> dict[str, Item]:
    """Return the named items and some distractors, from counts[0] to counts[1] of them."""
    chosen = dict(named)
    for number in range(int(rng.integers(counts[0], counts[1] + 1))):
        own = items(shapes, held_out=False)
        chosen[f"distractor_{number + 1}"] = choose_item(rng, own, chosen.values())
    return chosen
