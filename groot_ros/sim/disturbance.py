# SPDX-License-Identifier: Apache-2.0
"""Disturbances of an expert's episode, so that its data shows how to recover.

They change what the arm does, never the command that is recorded: the expert's answer to the state
that it finds (Laskey et al., "DART", arXiv:1703.09327).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from groot_ros.sim.arm import SimulatedArm
from groot_ros.sim.table import HALF_CUBE, Scene
from groot_ros.sim.table_expert import JAW_OPEN, TRAVEL_HEIGHT


@dataclass(frozen=True)
class DisturbanceSettings:
    """Strength of the disturbances of an episode.

    Attributes:
        noise: standard deviation of the change of the arm's commands in each step, rad.
        kicks: probability per step of a sudden change of the arm's commands.
        kick: standard deviation of such a change, rad.
        shifts: probability that the cube is moved just before the hand reaches it.
        shift: distance by which it is moved, m.
        drops: probability that the jaws open while they carry the cube.

    """

    noise: float = 0.008
    kicks: float = 0.03
    kick: float = 0.06
    shifts: float = 0.2
    shift: float = 0.022
    drops: float = 0.1


#: No disturbance.
UNDISTURBED = DisturbanceSettings(noise=0.0, kicks=0.0, shifts=0.0, drops=0.0)
#: Steps for which the jaws stay open in a drop.
_DROP_STEPS = 3


class Disturbance:
    """Disturbances of one episode."""

    def __init__(
        self, settings: DisturbanceSettings, scene: Scene, rng: np.random.Generator
    ) -> None:
        self._settings = settings
        self._scene = scene
        self._rng = rng
        # The outcomes are drawn in advance, so that they do not depend on the length of an episode.
        self._shift_due = bool(rng.random() < settings.shifts)
        self._drop_due = bool(rng.random() < settings.drops)
        self._drop_height = float(rng.uniform(0.04, 0.08))
        self._open_steps = 0

    def apply(
        self, command: NDArray[np.float64], arm: SimulatedArm, *, may_move_cube: bool
    ) -> NDArray[np.float64]:
        """Return the command [6] that the arm gets instead; may move the cube."""
        settings, rng = self._settings, self._rng
        changed = command.copy()
        # The expert continues from the disturbed command, so the changes add up until it corrects.
        changed[:5] += settings.noise * rng.normal(size=5)
        cube, hand = arm.cubes[self._scene.colour], arm.grasp_point
        if rng.random() < settings.kicks and hand[2] > 0.6 * TRAVEL_HEIGHT:
            changed[:5] += settings.kick * rng.normal(size=5)
        near = float(np.linalg.norm((hand - cube)[:2])) < 0.03 and hand[2] < 0.05
        if self._shift_due and may_move_cube and near and cube[2] < HALF_CUBE + 0.003:
            self._shift_due = False
            self._move_cube(arm)
        if self._drop_due and cube[2] > self._drop_height:
            self._drop_due, self._open_steps = False, _DROP_STEPS
        if self._open_steps:
            self._open_steps -= 1
            changed[5] = JAW_OPEN
        return changed

    def _move_cube(self, arm: SimulatedArm) -> None:
        """Move the cube sideways, away from the other objects if possible."""
        places = self._scene.others()
        cube = arm.cubes[self._scene.colour]
        for _ in range(10):
            angle = self._rng.uniform(-np.pi, np.pi)
            offset = self._settings.shift * np.array([np.cos(angle), np.sin(angle)])
            place = cube[:2] + offset
            if all(np.linalg.norm(place - other) > 0.055 for other in places):
                arm.shift_cube(self._scene.colour, offset)
                return
