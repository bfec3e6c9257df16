# SPDX-License-Identifier: Apache-2.0
"""The pick-and-place task: grasp the named cube and put it into the bowl.

The grasp is contact and friction only: nothing attaches the cube to the hand.
"""

import mujoco
import numpy as np
from numpy.typing import NDArray

from groot_ros.sim.arm import SimulatedArm
from groot_ros.sim.judge import Judge
from groot_ros.sim.table import BOWL_RADIUS, COLOURS, Scene, random_scene
from groot_ros.sim.table_expert import (
    JAW_GRASP,
    JAW_OPEN,
    NEAR,
    STEP,
    TRAVEL_HEIGHT,
    TableExpert,
    Target,
    cube_yaw,
    radial_yaw,
)
from groot_ros.sim.table_task import TableTask

#: Height of the grasp point in a grasp and over the bowl when the jaws open, m.
_GRASP_HEIGHT, _RELEASE_HEIGHT = 0.018, 0.055
#: The fixed finger comes down this far from the cube, m.
_FINGER_ROOM = 0.008
#: The jaws close around the cube within this distance from the grasp, m.
_OFF = 0.009
#: Time that the jaws get to close and to open, s.
_CLOSING, _OPENING = 0.5, 0.3
#: The cube is in the hand within this distance from the grasp point, m.
_HELD = 0.022
#: A cube in the bowl: its centre is below this height, m.
_BOWL_HEIGHT = 0.035
#: s for which the cube must be in the bowl, out of the hand, to count.
_SETTLED = 0.2


def is_in_bowl(arm: SimulatedArm, scene: Scene) -> bool:
    """Return whether the named cube is in the bowl."""
    cube = arm.cubes[scene.colour]
    inside = np.linalg.norm(cube[:2] - scene.bowl) < BOWL_RADIUS
    return bool(inside and cube[2] < _BOWL_HEIGHT)


class PickPlaceExpert(TableExpert):
    """Come down around the cube, close, lift, carry and release; start again after a miss."""

    def __init__(self, model: mujoco.MjModel, scene: Scene) -> None:
        super().__init__(model, scene)
        self._phase = "start"
        self._waited = 0.0
        self._lifted_from = np.zeros(3)

    def target(self, arm: SimulatedArm, hand: NDArray[np.float64]) -> Target:
        """Return the target of the present phase, after leaving a phase that is finished."""
        cube, scene = arm.cubes[self.scene.colour], self.scene
        bowl = np.array(scene.bowl)
        held = float(np.linalg.norm(cube - arm.grasp_point)) < _HELD
        in_bowl = is_in_bowl(arm, scene)
        if self._phase == "start":
            # Who takes over with the cube between closed jaws goes on from there.
            grasped = held and scene.colour in self.touches.cubes(arm.data)
            grasped = grasped and arm.positions[5] < 0.5 * JAW_OPEN
            self._phase, self._lifted_from = "lift" if grasped else "approach", hand.copy()
        if in_bowl and self._phase not in ("release", "retreat"):
            self._phase, self._waited = "release", 0.0
        if self._phase in ("lift", "carry", "lower") and not held:
            self._phase = "approach"
        yaw = cube_yaw(arm, scene.colour)
        along = np.array([np.cos(yaw), np.sin(yaw), 0.0])
        grasp = np.array([cube[0], cube[1], _GRASP_HEIGHT]) - _FINGER_ROOM * along
        if self._phase == "approach":
            off = float(np.linalg.norm((hand - grasp)[:2]))
            if off < _OFF and hand[2] < _GRASP_HEIGHT + NEAR:
                self._phase, self._waited = "close", 0.0
                self._lifted_from = hand.copy()
            else:
                if off > 0.02 and hand[2] < 0.6 * TRAVEL_HEIGHT:
                    return Target(np.array([*hand[:2], TRAVEL_HEIGHT]), JAW_OPEN, yaw)
                height = np.clip((off - _OFF) / 0.015, 0.0, 1.0)
                z = _GRASP_HEIGHT + height * (TRAVEL_HEIGHT - _GRASP_HEIGHT)
                return Target(np.array([*grasp[:2], z]), JAW_OPEN, yaw)
        if self._phase == "close":
            self._waited += STEP
            if self._waited > _CLOSING:
                self._phase = "lift"
            return Target(self._lifted_from, JAW_GRASP, yaw)
        turned = radial_yaw(np.append(bowl, 0.0))
        if self._phase == "lift":
            if hand[2] > TRAVEL_HEIGHT - 0.02:
                self._phase = "carry"
            return Target(np.array([*self._lifted_from[:2], TRAVEL_HEIGHT + 0.01]), JAW_GRASP, yaw)
        # The cube, not the hand, has to be over the bowl.
        over = bowl - (cube - arm.grasp_point)[:2]
        if self._phase == "carry":
            off = float(np.linalg.norm(hand[:2] - over))
            if off > 0.012:
                return Target(np.array([*over, TRAVEL_HEIGHT]), JAW_GRASP, turned)
            self._phase = "lower"
        if self._phase == "lower":
            if hand[2] > _RELEASE_HEIGHT + 0.008:
                return Target(np.array([*over, _RELEASE_HEIGHT]), JAW_GRASP, turned)
            self._phase, self._waited = "release", 0.0
        if self._phase == "release":
            self._waited += STEP
            if self._waited > _OPENING:
                self._phase = "retreat" if in_bowl else "approach"
            return Target(hand, JAW_OPEN, turned)
        self.done = in_bowl and hand[2] > TRAVEL_HEIGHT - NEAR
        if not in_bowl:
            self._phase = "approach"
        return Target(np.array([*hand[:2], TRAVEL_HEIGHT]), JAW_OPEN, turned)


class PickPlaceJudge(Judge):
    """Success: the named cube is in the bowl and the hand does not touch it."""

    def __init__(self, model: mujoco.MjModel, scene: Scene) -> None:
        super().__init__(model, scene)
        self._since_ns: int | None = None

    def fulfilled(self, arm: SimulatedArm, touched: set[str]) -> bool:
        """Return whether the cube has lain in the bowl for a moment."""
        if self.scene.colour in touched or not is_in_bowl(arm, self.scene):
            self._since_ns = None
            return False
        if self._since_ns is None:
            self._since_ns = arm.time_ns
        return arm.time_ns - self._since_ns >= _SETTLED * 1e9


class PickPlaceTask(TableTask):
    """The pick-and-place task as `tasks.EpisodeTask` requires it."""

    instructions = tuple(f"put the {colour} cube into the bowl" for colour in COLOURS)
    seconds = 12.0

    def scene(self, rng: np.random.Generator, instruction: str | None = None) -> Scene:
        """Draw a scene; the instruction as well unless it is given."""
        text = self.choose(rng, instruction)
        return random_scene(rng, text, text.split()[2])

    def expert(self, model: mujoco.MjModel, scene: Scene) -> PickPlaceExpert:
        """Return the expert for a scene."""
        return PickPlaceExpert(model, scene)

    def goal_point(self, scene: Scene) -> NDArray[np.float64]:
        """Return the bottom of the bowl, [3] m."""
        return np.array([*scene.bowl, 0.0])

    def judge(self, model: mujoco.MjModel, scene: Scene) -> PickPlaceJudge:
        """Return the judge of an episode."""
        return PickPlaceJudge(model, scene)


TASK = PickPlaceTask()
