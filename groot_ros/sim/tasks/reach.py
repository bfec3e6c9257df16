# SPDX-License-Identifier: Apache-2.0
"""The reach task: touch the cube that the instruction names, and no other."""

import mujoco
import numpy as np
from numpy.typing import NDArray

from groot_ros.sim.arm import SimulatedArm
from groot_ros.sim.judge import Judge
from groot_ros.sim.table import COLOURS, HALF_CUBE, Scene, random_scene
from groot_ros.sim.table_expert import JAW_CLOSED, TableExpert, Target, radial_yaw
from groot_ros.sim.table_task import TableTask

#: Height of the closed fingertips over the cube on the way to it, m.
_ABOVE = 0.055
#: The fingertips press this far into the top of the cube, m: a policy that stops some millimetres
#: early touches it all the same.
_PRESS = 0.008
#: The hand comes down to the cube within this distance from its axis, m, less than its half size:
#: a policy that is some millimetres off does not stay above it.
_ASIDE = 0.011


class ReachExpert(TableExpert):
    """Come down on the cube from above with closed jaws, and stay."""

    site = "fingertip"

    def target(self, arm: SimulatedArm, hand: NDArray[np.float64]) -> Target:
        """Return a point over the cube, or its top when the hand is over it."""
        cube = arm.cubes[self.scene.colour]
        top = cube + np.array([0.0, 0.0, HALF_CUBE])
        yaw = radial_yaw(cube)
        aside = float(np.linalg.norm((hand - top)[:2]))
        self.done = self.done or self.scene.colour in self.touches.cubes(arm.data)
        # The hand comes down in a funnel: the lower, the nearer to the axis of the cube.
        height = np.clip((aside - _ASIDE) / 0.02, 0.0, 1.0) * _ABOVE - _PRESS
        return Target(top + np.array([0.0, 0.0, height]), JAW_CLOSED, yaw)


class ReachJudge(Judge):
    """Success: the named cube is touched before any other."""

    def fulfilled(self, arm: SimulatedArm, touched: set[str]) -> bool:
        """Return whether the named cube is touched now and no other was touched before."""
        return self.scene.colour in touched and not self.wrong_touches


class ReachTask(TableTask):
    """The reach task as `tasks.EpisodeTask` requires it."""

    instructions = tuple(f"touch the {colour} cube" for colour in COLOURS)
    seconds = 5.0

    def scene(self, rng: np.random.Generator, instruction: str | None = None) -> Scene:
        """Draw a scene; the instruction as well unless it is given."""
        text = self.choose(rng, instruction)
        return random_scene(rng, text, text.split()[2])

    def expert(self, model: mujoco.MjModel, scene: Scene) -> ReachExpert:
        """Return the expert for a scene."""
        return ReachExpert(model, scene)

    def goal_point(self, scene: Scene) -> NDArray[np.float64]:
        """Return the place of the named cube, [3] m."""
        x, y, _ = scene.cubes[scene.colour]
        return np.array([x, y, HALF_CUBE])

    def judge(self, model: mujoco.MjModel, scene: Scene) -> ReachJudge:
        """Return the judge of an episode."""
        return ReachJudge(model, scene)


TASK = ReachTask()
