# SPDX-License-Identifier: Apache-2.0
"""Interface of the tasks at the table."""

from abc import ABC, abstractmethod
from dataclasses import replace

import mujoco
import numpy as np
from numpy.typing import NDArray

from groot_ros.sim.arm import SimulatedArm
from groot_ros.sim.judge import Judge
from groot_ros.sim.table import MODEL, ROBOT, Scene
from groot_ros.sim.table_expert import TableExpert


class TableTask(ABC):
    """A task with random scenes, a scripted expert and a judge.

    Attributes:
        robot: name of the robot contract.
        instructions: all that the task understands.
        seconds: time that an episode has.

    """

    robot = ROBOT
    instructions: tuple[str, ...]
    seconds: float
    #: Whether moving the cube during an episode leaves the task the same.
    cube_may_move = True

    @abstractmethod
    def scene(self, rng: np.random.Generator, instruction: str | None = None) -> Scene:
        """Draw a scene; the instruction as well unless it is given."""

    @abstractmethod
    def expert(self, model: mujoco.MjModel, scene: Scene) -> TableExpert:
        """Return the expert for a scene."""

    @abstractmethod
    def goal_point(self, scene: Scene) -> NDArray[np.float64]:
        """Return where the cube should end, [3] m; for labels of images."""

    @abstractmethod
    def judge(self, model: mujoco.MjModel, scene: Scene) -> Judge:
        """Return the judge of an episode."""

    def reset(self, arm: SimulatedArm, rng: np.random.Generator) -> None:
        """Reset an arm at home, in a random scene."""
        replace(self.scene(rng), joints=MODEL.home).apply(arm)

    def choose(self, rng: np.random.Generator, instruction: str | None) -> str:
        """Return the instruction, or a random one; ValueError for one that is not the task's."""
        if instruction is None:
            return str(rng.choice(self.instructions))
        if instruction not in self.instructions:
            raise ValueError(
                f"'{instruction}' is not an instruction of the task; valid instructions: "
                f"{', '.join(self.instructions)}"
            )
        return instruction
