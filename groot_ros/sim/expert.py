"""The scripted expert: from any joint state to where the instruction wants the hand.

Its motion is a field of velocities over joint positions, not a plan in time: a policy that sees
one picture and one joint state, but no velocity and no history, can learn it exactly, and it may
be asked anew at every instant without stuttering.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import mujoco
import numpy as np
from numpy.typing import ArrayLike, NDArray

from groot_ros.sim.kinematics import InverseKinematics
from groot_ros.sim.scene import HOME, joint_limits
from groot_ros.sim.task import instructed_cube, touch_point

#: Largest speed of a joint, rad/s.
SPEED = 1.2
#: A joint slows down over about this distance, rad: position errors decay within 0.17 s.
SLOWING = 0.2
#: The hand travels this much higher than it touches, m, ...
CLEARANCE = 0.07
#: ... and comes down over the last part of the pan, rad.
DESCENT = 0.4
#: Between a command and the servo that follows it, s.
SERVO_LAG = 0.055
#: The jaw while the hand travels and when it is over the cube, rad.
JAW_TRAVELLING, JAW_OPEN = 0.15, 0.85
#: The hand's pitch below the horizontal falls from near to far, as (distance in m, rad).
_PITCH = ((0.16, 1.5), (0.30, 1.2))
_SUBSTEPS = 4


@dataclass(frozen=True)
class Goal:
    """Joint positions [6] at the end, and higher up on the way there."""

    there: NDArray[np.float64]
    above: NDArray[np.float64]


class TouchExpert:
    """Knows where the cubes are; joint arrays are [..., 6] rad in the order of `JOINTS`."""

    def __init__(self, model: mujoco.MjModel) -> None:
        self._kinematics = InverseKinematics(model)
        self._limits = joint_limits(model)

    def goal(self, instruction: str, cubes: Mapping[str, NDArray[np.float64]]) -> Goal:
        """Where an instruction leads.

        Args:
            instruction: one of `INSTRUCTIONS`.
            cubes: colour -> [3] centre, m.

        Raises:
            ValueError: unknown instruction, or a cube out of reach.

        """
        colour = instructed_cube(instruction)
        if colour is None:
            return Goal(np.array(HOME), np.array(HOME))
        point = touch_point(cubes[colour])
        pitch = float(np.interp(np.hypot(point[0], point[1]), *np.transpose(_PITCH)))
        there = self._kinematics.reach(point, pitch)
        above = self._kinematics.reach(point + np.array([0.0, 0.0, CLEARANCE]), pitch - 0.2)
        # The jaws stay parallel to the table's edge: the roll undoes the pan.
        return Goal(
            np.array([*there, there[0], JAW_OPEN]), np.array([*above, there[0], JAW_TRAVELLING])
        )

    def velocity(self, joints: ArrayLike, goal: Goal) -> NDArray[np.float64]:
        """The field, [..., 6] rad/s, within `SPEED`; zero at the goal alone."""
        now = np.asarray(joints, dtype=np.float64)
        share = np.clip(np.abs(goal.there[0] - now[..., :1]) / DESCENT, 0.0, 1.0)
        height = share**2 * (3.0 - 2.0 * share)
        target = goal.there + height * (goal.above - goal.there)
        return SPEED * np.tanh((target - now) / SLOWING)

    def path(
        self,
        joints: ArrayLike,
        goal: Goal,
        steps: int = 16,
        dt: float = 1 / 30,
        lead: float = SERVO_LAG,
    ) -> NDArray[np.float64]:
        """Commands [..., steps, 6] rad for measured `joints`; row i is due i*dt from now.

        The first row leads the measured state by what the servos lag behind.
        """
        position = np.asarray(joints, dtype=np.float64)
        position = position + lead * self.velocity(position, goal)
        rows = [position]
        for _ in range(steps - 1):
            for _ in range(_SUBSTEPS):
                position = position + dt / _SUBSTEPS * self.velocity(position, goal)
            rows.append(position)
        return np.clip(np.stack(rows, axis=-2), *self._limits.T)
