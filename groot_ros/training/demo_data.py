"""Demonstrations of the scripted expert on the simulated arm, as one set of arrays.

Every picture is labelled with what the expert would do for each instruction: four samples for
the price of two renderings.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from groot_ros.sim import CameraRenderer, SimulatedArm
from groot_ros.sim.expert import Goal
from groot_ros.sim.tasks.touch import INSTRUCTIONS, TouchExpert, place_cubes

#: uint8 RGB [H, W, 3] of a camera to what is kept of it.
ImageTransform = Callable[[NDArray[np.uint8]], NDArray[np.uint8]]

VIEWS = ("front", "wrist")
HORIZON, DT = 16, 1 / 30
#: Cubes lie further off their usual places than in the demo, so that pictures must be read, m.
CUBE_JITTER = 0.02
#: Arm states per layout of the cubes: laying them out and finding the goals costs as much as one.
_STATES_PER_LAYOUT = 8
#: Share of states near the end of a motion, where errors show, and how near, rad.
_SETTLED_SHARE, _SETTLED_NOISE = 0.3, 0.06
#: Share of states anywhere at all between the goals, so that nothing is quite unknown.
_STRAY_SHARE = 0.15
#: How far a state is thrown off the expert's way, rad.
_NOISE = 0.12
#: s of an expert's motion that states are taken from.
_MOTION_SECONDS = 2.5


@dataclass(frozen=True)
class DemoData:
    """N states with pictures; `actions` for each of the instructions. Units: rad.

    Attributes:
        images: uint8 [N, views, ...], views in the order of VIEWS, each as the transform left it.
        states: float64 [N, joints].
        actions: float64 [N, instructions, HORIZON, joints], absolute, row i due i*DT after the
            picture.
        goals: float64 [N, instructions, joints], where the expert ends.
        instructions: the words, in the order of the actions.

    """

    images: NDArray[np.uint8]
    states: NDArray[np.float64]
    actions: NDArray[np.float64]
    goals: NDArray[np.float64]
    instructions: tuple[str, ...] = INSTRUCTIONS

    def __len__(self) -> int:
        return len(self.states)

    def save(self, path: Path) -> None:
        """One compressed npz."""
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
        """What `save` wrote."""
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
        seed: of the cubes' places and the arm's states.
        camera_size: (width, height) of the renderings.
        transform: applied to each rendering before it is kept.
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
    """Arm states of one layout: settled, on the way between two goals, or astray."""
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
