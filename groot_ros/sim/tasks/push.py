# SPDX-License-Identifier: Apache-2.0
"""The push task: push the named cube to the left or to the right, as the robot sees it."""

import mujoco
import numpy as np
from numpy.typing import NDArray

from groot_ros.sim.arm import SimulatedArm
from groot_ros.sim.judge import Judge
from groot_ros.sim.table import BOWL_RADIUS, COLOURS, HALF_CUBE, PAN_AXIS, Scene, random_scene
from groot_ros.sim.table_expert import JAW_CLOSED, TableExpert, Target
from groot_ros.sim.table_task import TableTask

#: Distance by which the cube has to move, and by which the expert moves it, m. The expert does not
#: lift the hand after that: no image shows where the cube was, so a policy without memory could not
#: tell whether the push is over or has to begin.
DISTANCE, _EXPERT_DISTANCE = 0.05, 0.075
#: Largest motion of the cube across the direction, m.
MAX_ASIDE = 0.04
#: Distance from the centre of the cube at which the fingers come down, m.
_BEHIND = 0.042
#: Height of the fingertips while they push and while they travel, m.
_PUSH_HEIGHT, _TRAVEL_HEIGHT = 0.010, 0.080
#: The hand comes down within this distance from the point behind the cube, m.
_OFF = 0.012
#: Half the width of the free lane that the hand and the cube need, m.
_LANE = 0.038
_SIDES = {"left": 1.0, "right": -1.0}


def side_of(instruction: str) -> float:
    """Return the direction of the push along y, 1 or -1."""
    return _SIDES[instruction.split()[-1]]


class PushExpert(TableExpert):
    """Come down next to the cube and push it along y, steering by where it goes."""

    rests = False
    site = "fingertip"

    def __init__(self, model: mujoco.MjModel, scene: Scene) -> None:
        super().__init__(model, scene)
        self._side = side_of(scene.instruction)
        self._start = np.array(scene.cubes[scene.colour][:2])

    def target(self, arm: SimulatedArm, hand: NDArray[np.float64]) -> Target:
        """Return a point behind the cube, then points that follow it, until it is far enough."""
        cube = arm.cubes[self.scene.colour]
        moved = self._side * (cube[1] - self._start[1])
        self.done = self.done or moved > _EXPERT_DISTANCE
        # Where a cube drifts aside, the fingers push it back by touching it further out.
        drift = cube[0] - self._start[0]
        x = cube[0] + 0.5 * np.clip(drift, -0.01, 0.01)
        behind = np.array([x, cube[1] - self._side * _BEHIND])
        aside = float(np.abs(hand[0] - x))
        back = self._side * (cube[1] - hand[1])
        if hand[2] < 0.02 and aside < 0.016 and back > 0.0:
            # Low and behind: push through the cube.
            ahead = np.array([x, hand[1] + self._side * 0.05, _PUSH_HEIGHT])
            return Target(ahead, JAW_CLOSED, 0.0, speed=0.45)
        off = float(np.linalg.norm(hand[:2] - behind))
        if off > 0.025 and hand[2] < 0.5 * _TRAVEL_HEIGHT:
            # Low at the wrong place: up first.
            return Target(np.array([hand[0], hand[1], _TRAVEL_HEIGHT]), JAW_CLOSED, 0.0)
        height = np.clip((off - _OFF) / 0.02, 0.0, 1.0)
        z = _PUSH_HEIGHT + height * (_TRAVEL_HEIGHT - _PUSH_HEIGHT)
        return Target(np.array([*behind, z]), JAW_CLOSED, 0.0)


class PushJudge(Judge):
    """Success: the named cube lies far enough in the direction, and not aside."""

    def fulfilled(self, arm: SimulatedArm, touched: set[str]) -> bool:
        """Return whether the cube has moved as told."""
        cube = arm.cubes[self.scene.colour]
        x, y, _ = self.scene.cubes[self.scene.colour]
        moved = side_of(self.scene.instruction) * (cube[1] - y)
        return bool(moved >= DISTANCE and abs(cube[0] - x) <= MAX_ASIDE and cube[2] < 0.025)


class PushTask(TableTask):
    """The push task as `tasks.EpisodeTask` requires it."""

    instructions = tuple(
        f"push the {colour} cube to the {side}" for colour in COLOURS for side in _SIDES
    )
    seconds = 8.0
    cube_may_move = False

    def scene(self, rng: np.random.Generator, instruction: str | None = None) -> Scene:
        """Draw a scene in which the way is free; the instruction as well unless it is given."""
        text = self.choose(rng, instruction)
        return random_scene(rng, text, text.split()[2], has_free_way)

    def expert(self, model: mujoco.MjModel, scene: Scene) -> PushExpert:
        """Return the expert for a scene."""
        return PushExpert(model, scene)

    def goal_point(self, scene: Scene) -> NDArray[np.float64]:
        """Return where the push should end, [3] m."""
        x, y, _ = scene.cubes[scene.colour]
        return np.array([x, y + side_of(scene.instruction) * _EXPERT_DISTANCE, HALF_CUBE])

    def judge(self, model: mujoco.MjModel, scene: Scene) -> PushJudge:
        """Return the judge of an episode."""
        return PushJudge(model, scene)


def has_free_way(scene: Scene) -> bool:
    """Return whether hand and cube meet nothing on the way, and the arm reaches both ends."""
    side = side_of(scene.instruction)
    cube = np.array(scene.cubes[scene.colour][:2])
    for place in scene.others():
        ahead, aside = side * (place[1] - cube[1]), abs(place[0] - cube[0])
        room = BOWL_RADIUS if tuple(place) == scene.bowl else 0.015
        if aside < _LANE - 0.015 + room and -0.05 - room < ahead < 0.10 + room:
            return False
    ends = [cube + np.array([0.0, side * way]) for way in (-_BEHIND - 0.01, 0.08)]
    distances = [float(np.linalg.norm(end - PAN_AXIS)) for end in ends]
    angles = [abs(float(np.arctan2(*(end - PAN_AXIS)[::-1]))) for end in ends]
    return min(distances) > 0.14 and max(distances) < 0.275 and max(angles) < 1.25


TASK = PushTask()
