"""From a point in front of the arm to the joints that reach it."""

import mujoco
import numpy as np
from numpy.typing import ArrayLike, NDArray

from groot_ros.sim.scene import JOINTS, joint_limits

#: Joints that place the grasp point: the roll axis passes through it, the gripper is beyond it.
_ARM = 4
#: m per rad: how much a wrong pitch of the hand weighs against a wrong place.
_PITCH_WEIGHT = 0.05
_DAMPING = 1e-6
_TOLERANCE = 1e-5


class Unreachable(ValueError):  # noqa: N818 - the point is at fault, not the program
    """The point lies outside the arm's reach with this pitch of the hand."""


class InverseKinematics:
    """Damped least squares on MuJoCo's Jacobian; pure function of its arguments."""

    def __init__(self, model: mujoco.MjModel) -> None:
        self._model = model
        self._data = mujoco.MjData(model)
        self._site = model.site("grasp").id
        self._qpos = [int(model.joint(name).qposadr[0]) for name in JOINTS[:_ARM]]
        self._dofs = [int(model.joint(name).dofadr[0]) for name in JOINTS[:_ARM]]
        self._limits = joint_limits(model)[:_ARM]

    def reach(self, point: ArrayLike, pitch: float, iterations: int = 100) -> NDArray[np.float64]:
        """Pan, lift, elbow and wrist flex [4] rad that put the grasp point there.

        Args:
            point: [3] m.
            pitch: how far the hand points below the horizontal, rad.
            iterations: at most so many steps.

        Raises:
            Unreachable: when it ends more than 1 mm or 0.02 rad off.

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
                f"the grasp point cannot come to {np.round(target, 3).tolist()} m with the hand "
                f"{pitch:.2f} rad below the horizontal"
            )
        return joints
