# SPDX-License-Identifier: Apache-2.0
"""The touch task: hold the hand over the cube that the instruction names."""

from collections.abc import Mapping

import mujoco
import numpy as np
from numpy.typing import NDArray

from groot_ros.sim.arm import SimulatedArm
from groot_ros.sim.expert import Expert, Goal
from groot_ros.sim.so101 import CUBE_HALF_SIZE, CUBES, HOME

GO_HOME = "go home"
#: All instructions of the task.
INSTRUCTIONS = (*(f"touch the {colour} cube" for colour in CUBES), GO_HOME)
#: Height of the hand's grasp point above a cube's top, m.
TOUCH_HEIGHT = 0.025
#: A cube counts as touched when the grasp point ends within this distance of its top, m.
REACHED = 0.04
#: Colour -> (distance from the pan axis in m, pan angle in rad): far apart in both.
_PLACES = {"red": (0.155, 0.70), "green": (0.28, 0.0), "blue": (0.225, -0.70)}
#: The hand travels this much higher than it touches, m.
CLEARANCE = 0.07
#: Opening of the jaw while the hand travels and when it is over the cube, rad.
JAW_TRAVELLING, JAW_OPEN = 0.15, 0.85
#: The hand's pitch below the horizontal decreases with the distance, as (distance in m, rad).
_PITCH = ((0.16, 1.5), (0.30, 1.2))


def instructed_cube(instruction: str) -> str | None:
    """Return the colour to touch, None for going home; case and punctuation are ignored.

    Raises:
        ValueError: any other instruction; the message lists the valid ones.

    """
    words = "".join(c for c in instruction.lower() if c.isalnum() or c.isspace())
    words = " ".join(words.split())
    if words not in INSTRUCTIONS:
        raise ValueError(
            f"'{instruction}' is not an instruction of the touch task; valid instructions: "
            f"{', '.join(INSTRUCTIONS)}"
        )
    return None if words == GO_HOME else words.split()[2]


def place_cubes(
    rng: np.random.Generator | None = None, jitter: float = 0.01
) -> dict[str, tuple[float, float, float]]:
    """Return colour -> (x, y, yaw) in m and rad, x and y up to `jitter` m off the usual place."""
    places = {}
    for colour, (distance, pan) in _PLACES.items():
        dx, dy = (0.0, 0.0) if rng is None else rng.uniform(-jitter, jitter, 2)
        places[colour] = (distance * np.cos(pan) + dx, distance * np.sin(pan) + dy, 0.0)
    return places


def touch_point(cube: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the goal of the grasp point, [3] m, above the cube with this centre."""
    return cube + np.array([0.0, 0.0, CUBE_HALF_SIZE + TOUCH_HEIGHT])


def distance_to_cube(
    grasp_point: NDArray[np.float64], cubes: Mapping[str, NDArray[np.float64]], colour: str
) -> float:
    """Return the distance from the grasp point to the middle of the cube's top, m.

    It is `TOUCH_HEIGHT` at the goal.
    """
    top = cubes[colour] + np.array([0.0, 0.0, CUBE_HALF_SIZE])
    return float(np.linalg.norm(grasp_point - top))


class TouchExpert(Expert):
    """Expert that knows where the cubes are."""

    def goal(self, instruction: str, cubes: Mapping[str, NDArray[np.float64]]) -> Goal:
        """Return the goal of an instruction.

        Args:
            instruction: one of `INSTRUCTIONS`.
            cubes: colour -> centre, [3] m.

        Raises:
            ValueError: unknown instruction, or a cube out of reach.

        """
        colour = instructed_cube(instruction)
        if colour is None:
            return Goal(np.array(HOME), np.array(HOME))
        point = touch_point(cubes[colour])
        pitch = float(np.interp(np.hypot(point[0], point[1]), *np.transpose(_PITCH)))
        there = self.kinematics.reach(point, pitch)
        above = self.kinematics.reach(point + np.array([0.0, 0.0, CLEARANCE]), pitch - 0.2)
        # The jaws stay parallel to the table's edge: the roll cancels the pan.
        return Goal(
            np.array([*there, there[0], JAW_OPEN]), np.array([*above, there[0], JAW_TRAVELLING])
        )


class TouchTask:
    """The touch task as `tasks.Task` requires it."""

    robot = "so101"
    instructions = INSTRUCTIONS

    def reset(self, arm: SimulatedArm, rng: np.random.Generator) -> None:
        """Reset an arm at home, with the cubes near their usual places."""
        arm.reset(cubes=place_cubes(rng))

    def place_cubes(
        self, rng: np.random.Generator | None = None
    ) -> dict[str, tuple[float, float, float]]:
        """Lay the cubes out with the usual jitter."""
        return place_cubes(rng)

    def distance(
        self,
        instruction: str,
        grasp_point: NDArray[np.float64],
        cubes: Mapping[str, NDArray[np.float64]],
    ) -> float:
        """Return the distance to the instructed cube, m; NaN when going home."""
        colour = instructed_cube(instruction)
        return distance_to_cube(grasp_point, cubes, colour) if colour else float("nan")

    def succeeded(self, distance: float) -> bool:
        """Return whether the cube at this distance, m, counts as touched."""
        return distance <= REACHED

    def expert(self, model: mujoco.MjModel) -> TouchExpert:
        """Return the expert of the task."""
        return TouchExpert(model)


TASK = TouchTask()
