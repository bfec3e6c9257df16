# SPDX-License-Identifier: Apache-2.0
"""Demonstrations of the scripted expert on the simulated arm, as one set of arrays.

Each rendered state is labelled with the expert's actions for every instruction, so that one
rendering per view yields several samples.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from groot_ros.sim import CameraRenderer, SimulatedArm
from groot_ros.sim.expert import Goal
from groot_ros.sim.tasks.touch import INSTRUCTIONS, TouchExpert, place_cubes

#: Converts a camera image, uint8 RGB [H, W, 3], to the array that is stored.
ImageTransform = Callable[[NDArray[np.uint8]], NDArray[np.uint8]]

VIEWS = ("front", "wrist")
HORIZON, DT = 16, 1 / 30
#: Largest offset of a cube, m: more than in the demo, so that the model must use the images.
CUBE_JITTER = 0.02
#: Arm states per layout of the cubes; making a layout and its goals costs as much as one state.
_STATES_PER_LAYOUT = 8
#: Share of states near the end of a motion, where errors show most, and the largest standard
#: deviation of their noise, rad.
_SETTLED_SHARE, _SETTLED_NOISE = 0.3, 0.06
#: Share of states at random positions between two goals, off the expert's paths.
_STRAY_SHARE = 0.15
#: Largest standard deviation of the noise that moves a state off the expert's path, rad.
_NOISE = 0.12
#: Duration of the expert's motion from which states are taken, s.
_MOTION_SECONDS = 2.5
#: A pixel belongs to a cube if the cube's own channel is above _BRIGHT and the other channels are
#: below these shares of it. The arm's orange has a green share of 0.67, so it is not a cube.
_OTHERS = np.array([[0, 0.5, 0.5], [0.55, 0, 0.7], [0.5, 0.65, 0]])
_BRIGHT = 50
#: Values per cell: for each colour its share of the cell, and the share's first moments downwards
#: and to the right.
CELL_WIDTH = 9


@dataclass(frozen=True)
class DemoData:
    """N states with images, and the expert's actions for each instruction. Units: rad.

    Attributes:
        images: uint8 [N, views, ...], transformed, views in the order of VIEWS.
        states: float64 [N, joints].
        actions: float64 [N, instructions, HORIZON, joints], absolute; row i is due i*DT after the
            image.
        goals: float64 [N, instructions, joints], positions at the end of the expert's motion.
        instructions: texts, in the order of the actions.

    """

    images: NDArray[np.uint8]
    states: NDArray[np.float64]
    actions: NDArray[np.float64]
    goals: NDArray[np.float64]
    instructions: tuple[str, ...] = INSTRUCTIONS

    def __len__(self) -> int:
        return len(self.states)

    def save(self, path: Path) -> None:
        """Write a compressed npz file."""
        np.savez_compressed(
            path,
            images=self.images,
            states=self.states,
            actions=self.actions,
            goals=self.goals,
            instructions=np.array(self.instructions),
        )

    @classmethod
    def load(cls, path: Path) -> "DemoData":
        """Read a file that `save` wrote."""
        with np.load(path) as file:
            instructions = tuple(str(text) for text in file["instructions"])
            return cls(file["images"], file["states"], file["actions"], file["goals"], instructions)


def generate(
    count: int,
    seed: int,
    *,
    camera_size: tuple[int, int] = (640, 480),
    transform: ImageTransform = lambda image: image,
    progress: Callable[[int], None] = lambda done: None,
) -> DemoData:
    """Render and label `count` states; the same seed gives the same data.

    Args:
        count: number of states.
        seed: seed of the cubes' positions and the arm's states.
        camera_size: (width, height) of the renderings.
        transform: applied to each rendering before it is stored.
        progress: called with 1 after each state.

    """
    rng = np.random.default_rng(seed)
    images: list[list[NDArray[np.uint8]]] = []
    states: list[NDArray[np.float64]] = []
    actions: list[list[NDArray[np.float64]]] = []
    ends: list[list[NDArray[np.float64]]] = []
    arm = SimulatedArm()
    expert = TouchExpert(arm.model)
    with CameraRenderer(arm.model, *camera_size) as renderer:
        while len(states) < count:
            arm.reset(cubes=place_cubes(rng, CUBE_JITTER))
            goals = [expert.goal(text, arm.cubes) for text in INSTRUCTIONS]
            for state in _states(rng, expert, goals, arm.limits):
                if len(states) == count:
                    break
                arm.place_joints(state)
                images.append([transform(renderer.render(arm.scene, view)) for view in VIEWS])
                states.append(state)
                actions.append([expert.path(state, goal, HORIZON, DT) for goal in goals])
                ends.append([goal.there for goal in goals])
                progress(1)
    return DemoData(np.array(images), np.array(states), np.array(actions), np.array(ends))


def _states(
    rng: np.random.Generator,
    expert: TouchExpert,
    goals: list[Goal],
    limits: NDArray[np.float64],
) -> Iterator[NDArray[np.float64]]:
    """Yield arm states [6] of one layout: near a goal, off every path, or between two goals."""
    for _ in range(_STATES_PER_LAYOUT):
        start, end = (goals[i] for i in rng.choice(len(goals), 2, replace=False))
        kind = rng.random()
        if kind < _SETTLED_SHARE:
            state = end.there + rng.normal(0.0, _SETTLED_NOISE * rng.random(), 6)
        elif kind < _SETTLED_SHARE + _STRAY_SHARE:
            share = rng.random(6)
            state = start.there + share * (end.above - start.there) + rng.normal(0.0, 0.2, 6)
        else:
            steps = round(_MOTION_SECONDS / DT)
            way = expert.path(start.there, end, steps, DT, lead=0.0)
            state = way[rng.integers(steps)] + rng.normal(0.0, _NOISE * rng.random(), 6)
        yield np.clip(state, *limits.T)


def describe_cells(images: NDArray[np.uint8], cell: int) -> NDArray[np.float32]:
    """Describe the cube pixels in each image cell.

    Moments are relative to the cell's centre, in units of its side, so that share and moments
    together locate a colour within the cell.

    Args:
        images: uint8 [N, views, 3, h, w].
        cell: side of a cell, px.

    Returns:
        float32 [N, tokens, CELL_WIDTH], tokens in the model's order.

    """
    n, views, _, h, w = images.shape
    pixels = images.astype(np.float32)
    masks = []
    for own, shares in enumerate(_OTHERS):
        mask = pixels[:, :, own] > _BRIGHT
        for other, share in enumerate(shares):
            if other != own:
                mask &= pixels[:, :, other] < share * pixels[:, :, own]
        masks.append(mask)
    inside = np.stack(masks, axis=2).astype(np.float32)
    inside = inside.reshape(n, views, 3, h // cell, cell, w // cell, cell)
    offset = ((np.arange(cell) - (cell - 1) / 2) / cell).astype(np.float32)
    share = inside.mean((4, 6))
    down = (inside * offset[:, None, None]).mean((4, 6))
    right = (inside * offset).mean((4, 6))
    # From [n, views, colours, rows, columns, 3] to one row of CELL_WIDTH values per token.
    described = np.stack([share, down, right], axis=-1).transpose(0, 1, 3, 4, 2, 5)
    return described.reshape(n, -1, CELL_WIDTH)
