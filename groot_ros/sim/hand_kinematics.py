# SPDX-License-Identifier: Apache-2.0
"""Inverse kinematics of the SO-101's hand: position first, then direction and roll."""

from dataclasses import dataclass

import mujoco
import numpy as np
from numpy.typing import ArrayLike, NDArray

Vector = NDArray[np.float64]

#: Joints that place the hand, in the order of every [5] array.
ARM_JOINTS = ("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll")
#: Roll at which the jaws open in the plane of the arm, rad: the hand is mounted askew.
_ROLL_OFFSET = 0.0487
_DAMPING = 1e-5
#: Largest step of a joint in one iteration, rad.
_MAX_STEP = 0.3


@dataclass(frozen=True)
class HandPose:
    """Pose of a point of the hand.

    Attributes:
        point: position of the site, [3] m.
        pitch: angle of the hand below the horizontal, rad; pi/2 points down.
        yaw: angle about the vertical at which the jaws open while the hand points down, rad; 0 is
            along x.

    """

    point: Vector
    pitch: float
    yaw: float


class HandKinematics:
    """Kinematics of one site of the hand; joint arrays are [5] rad in the order of ARM_JOINTS.

    The arm has five joints and the pose five numbers. Where no joint position gives all of them,
    the position is kept, and pitch and yaw come as near as they can.
    """

    def __init__(self, model: mujoco.MjModel, site: str) -> None:
        self._model = model
        self._data = mujoco.MjData(model)
        self._site = model.site(site).id
        joints = [model.joint(name) for name in ARM_JOINTS]
        self._qpos = [int(joint.qposadr[0]) for joint in joints]
        self._dofs = [int(joint.dofadr[0]) for joint in joints]
        self._limits = np.array([joint.range for joint in joints])
        self._jacobian = np.zeros((3, model.nv))
        # Lift, elbow and wrist flex are parallel, so that the pitch is their sum; pan and roll
        # turn in opposite directions about the vertical while the hand points down.
        self._turning = np.array([[0.0, 1.0, 1.0, 1.0, 0.0], [-1.0, 0.0, 0.0, 0.0, 1.0]])

    def pose(self, joints: ArrayLike) -> HandPose:
        """Return the pose of the hand at joint positions [5]."""
        q = np.asarray(joints, dtype=np.float64)
        point = self._forward(q)
        pitch, yaw = self._turning @ q
        return HandPose(point, float(pitch), float(yaw) - _ROLL_OFFSET)

    def solve(self, pose: HandPose, start: ArrayLike, iterations: int = 20) -> Vector:
        """Return joint positions [5] for a pose, searched from `start` [5], within the limits."""
        q = np.array(start, dtype=np.float64)
        wanted = np.array([pose.pitch, pose.yaw + _ROLL_OFFSET])
        for iteration in range(iterations):
            error = pose.point - self._forward(q)
            turn = wanted - self._turning @ q
            if iteration >= iterations // 2:
                # Where a limit is in the way of the direction, the last steps are for the position.
                turn = np.zeros(2)
            if np.abs(error).max() < 1e-5 and np.abs(turn).max() < 1e-3:
                break
            mujoco.mj_comPos(self._model, self._data)
            mujoco.mj_jacSite(self._model, self._data, self._jacobian, None, self._site)
            moves = np.ones(len(q))
            # A joint that would leave its limits stays, and the others move without it.
            for _ in range(2):
                step = self._step(error, turn, moves)
                out = np.where(step < 0, q <= self._limits[:, 0], q >= self._limits[:, 1])
                moves *= ~(out & (step != 0))
            longest = np.abs(step).max()
            q = np.clip(q + step * min(1.0, _MAX_STEP / max(longest, 1e-9)), *self._limits.T)
        return q

    def _step(self, error: Vector, turn: Vector, moves: Vector) -> Vector:
        """Return the step [5] of the joints that move; it reduces `error` [3], then `turn` [2]."""
        position = self._jacobian[:, self._dofs] * moves
        inverse = position.T @ np.linalg.inv(position @ position.T + _DAMPING * np.eye(3))
        step = inverse @ error
        rows = self._turning @ (np.diag(moves) - inverse @ position)
        inner = rows @ rows.T + 1e-3 * np.eye(2)
        correction: Vector = rows.T @ np.linalg.solve(inner, turn - self._turning @ step)
        return step + correction * moves

    def _forward(self, joints: Vector) -> Vector:
        self._data.qpos[self._qpos] = joints
        mujoco.mj_kinematics(self._model, self._data)
        point: Vector = self._data.site_xpos[self._site].copy()
        return point
