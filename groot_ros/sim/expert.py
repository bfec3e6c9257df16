# SPDX-License-Identifier: Apache-2.0
"""The scripted expert: inverse kinematics, and motion from any joint state to a goal.

The motion is a field of velocities over joint positions, not a plan in time: a policy that sees
one image and one joint state, but no velocity and no history, can learn it exactly, and it can be
evaluated again at every instant without a discontinuity.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

import mujoco
import numpy as np
from numpy.typing import ArrayLike, NDArray

from groot_ros.sim.so101 import JOINTS, MODEL

#: Largest speed of a joint, rad/s.
SPEED = 1.2
#: A joint slows down over about this distance, rad: position errors decay within 0.17 s.
SLOWING = 0.2
#: The hand comes down over the last part of the pan, rad.
DESCENT = 0.4
#: Time between a command and the servo that follows it, s.
SERVO_LAG = 0.055
_SUBSTEPS = 4
#: Number of joints that place the grasp point: the roll axis passes through it, and the gripper
#: comes after it.
_ARM_JOINTS = 4
#: Weight of the hand's pitch against its position, m per rad.
_PITCH_WEIGHT = 0.05
_DAMPING = 1e-6
_TOLERANCE = 1e-5


class Unreachable(ValueError):  # noqa: N818 - the point is at fault, not the program
    """The arm cannot reach the point with this pitch of the hand."""


class InverseKinematics:
    """Inverse kinematics by damped least squares on MuJoCo's Jacobian; results are repeatable."""

    def __init__(self, model: mujoco.MjModel) -> None:
        self._model = model
        self._data = mujoco.MjData(model)
        self._site = model.site("grasp").id
        self._qpos = [int(model.joint(name).qposadr[0]) for name in JOINTS[:_ARM_JOINTS]]
        self._dofs = [int(model.joint(name).dofadr[0]) for name in JOINTS[:_ARM_JOINTS]]
        self._limits = MODEL.limits[:_ARM_JOINTS]

    def reach(self, point: ArrayLike, pitch: float, iterations: int = 100) -> NDArray[np.float64]:
        """Return pan, lift, elbow and wrist flex, [4] rad, that bring the grasp point there.

        Args:
            point: target of the grasp point, [3] m.
            pitch: angle of the hand below the horizontal, rad.
            iterations: maximum number of steps.

        Raises:
            Unreachable: the result is more than 1 mm or 0.02 rad off.

        """
        target = np.asarray(point, dtype=np.float64)
        joints = np.array([np.arctan2(target[1], target[0]), 0.2, 0.0, 1.2])
        jacobian = np.zeros((3, self._model.nv))
        for _ in range(iterations):
            self._data.qpos[self._qpos] = joints
            mujoco.mj_kinematics(self._model, self._data)
            mujoco.mj_comPos(self._model, self._data)
            # Lift, elbow and wrist flex are parallel: the hand's pitch is their sum.
            error = np.append(
                target - self._data.site_xpos[self._site],
                _PITCH_WEIGHT * (pitch - joints[1:].sum()),
            )
            if np.abs(error).max() < _TOLERANCE:
                break
            mujoco.mj_jacSite(self._model, self._data, jacobian, None, self._site)
            rows = np.vstack([jacobian[:, self._dofs], _PITCH_WEIGHT * np.array([0.0, 1, 1, 1])])
            step = rows.T @ np.linalg.solve(rows @ rows.T + _DAMPING * np.eye(4), error)
            joints = np.clip(joints + step, *self._limits.T)
        if np.abs(error).max() > 1e-3:
            raise Unreachable(
                f"the grasp point cannot reach {np.round(target, 3).tolist()} m with the hand "
                f"{pitch:.2f} rad below the horizontal"
            )
        return joints


@dataclass(frozen=True)
class Goal:
    """Joint positions [6] rad at the end of a motion, and higher up on the way to it."""

    there: NDArray[np.float64]
    above: NDArray[np.float64]


class Expert(ABC):
    """Motion towards the goals of a task; joint arrays are [..., 6] rad, ordered as `JOINTS`."""

    def __init__(self, model: mujoco.MjModel) -> None:
        self.kinematics = InverseKinematics(model)
        self._limits = MODEL.limits

    @abstractmethod
    def goal(self, instruction: str, cubes: Mapping[str, NDArray[np.float64]]) -> Goal:
        """Return the goal of an instruction; `cubes` is colour -> centre, [3] m."""

    def velocity(self, joints: ArrayLike, goal: Goal) -> NDArray[np.float64]:
        """Return the velocity field, [..., 6] rad/s, within `SPEED`; zero only at the goal."""
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
        """Return commands [..., steps, 6] rad from measured joints; row i is due i*dt from now.

        Args:
            joints: measured positions [..., 6], rad.
            goal: end of the motion.
            steps: number of rows.
            dt: s between the rows.
            lead: s by which the first row leads the measured state, to compensate the servo lag.

        """
        position = np.asarray(joints, dtype=np.float64)
        position = position + lead * self.velocity(position, goal)
        rows = [position]
        for _ in range(steps - 1):
            for _ in range(_SUBSTEPS):
                position = position + dt / _SUBSTEPS * self.velocity(position, goal)
            rows.append(position)
        return np.clip(np.stack(rows, axis=-2), *self._limits.T)
