# SPDX-License-Identifier: Apache-2.0
"""Judges of episodes at the table: success, and wrong cubes that the hand touches."""

from abc import ABC, abstractmethod

import mujoco

from groot_ros.core import ns_to_s
from groot_ros.sim.arm import SimulatedArm
from groot_ros.sim.table import Scene, Touches


class Judge(ABC):
    """Judge of one episode; observe the arm once per control cycle.

    Attributes:
        succeeded_after: s from the start until the instruction was fulfilled; None before.
        wrong_touches: colours of the cubes that the hand touched and the instruction does not name.

    """

    def __init__(self, model: mujoco.MjModel, scene: Scene) -> None:
        self.scene = scene
        self.succeeded_after: float | None = None
        self.wrong_touches: set[str] = set()
        self._touches = Touches(model)

    @property
    def succeeded(self) -> bool:
        """Return whether the instruction was fulfilled."""
        return self.succeeded_after is not None

    @abstractmethod
    def fulfilled(self, arm: SimulatedArm, touched: set[str]) -> bool:
        """Return whether the instruction is fulfilled now; `touched` are the cubes touched now."""

    def observe(self, arm: SimulatedArm) -> None:
        """Take the present state of the arm and the objects."""
        touched = self._touches.cubes(arm.data)
        self.wrong_touches |= touched - {self.scene.colour}
        if not self.succeeded and self.fulfilled(arm, touched):
            self.succeeded_after = ns_to_s(arm.time_ns)
