"""The physics: an arm whose servos follow position commands, and the cubes before it."""

import math
from collections.abc import Mapping

import mujoco
import numpy as np
from numpy.typing import ArrayLike, NDArray

from groot_ros.core import s_to_ns
from groot_ros.sim.scene import CUBE_HALF_SIZE, CUBES, HOME, JOINTS, joint_limits, load_model

#: s; beyond it the stiff servos are no longer integrated well.
_LARGEST_TIMESTEP = 0.002


class SimulatedArm:
    """Six servos with lag and limits under gravity; not thread-safe.

    Joint arrays are float64 [6] in the order of `JOINTS`, rad and rad/s. One step lasts
    `period` s, the control period.
    """

    def __init__(self, period: float = 0.004) -> None:
        self.model = load_model()
        self._substeps = math.ceil(period / _LARGEST_TIMESTEP - 1e-9)
        self.model.opt.timestep = period / self._substeps
        self._period_ns = s_to_ns(period)
        self.data = mujoco.MjData(self.model)
        self.limits = joint_limits(self.model)
        self._qpos = [int(self.model.joint(name).qposadr[0]) for name in JOINTS]
        self._qvel = [int(self.model.joint(name).dofadr[0]) for name in JOINTS]
        self._cube_qpos = {
            c: int(self.model.jnt_qposadr[self.model.body(f"{c}_cube").jntadr[0]]) for c in CUBES
        }
        self._steps = 0
        self.reset()

    @property
    def time_ns(self) -> int:
        """Simulated time since the last reset, exact."""
        return self._steps * self._period_ns

    @property
    def positions(self) -> NDArray[np.float64]:
        """Measured joint positions, a copy."""
        return self.data.qpos[self._qpos].copy()

    @property
    def velocities(self) -> NDArray[np.float64]:
        """Measured joint velocities, a copy."""
        return self.data.qvel[self._qvel].copy()

    @property
    def efforts(self) -> NDArray[np.float64]:
        """Torques of the servos, N m, a copy."""
        return self.data.actuator_force.copy()

    @property
    def scene(self) -> NDArray[np.float64]:
        """Where everything is, for a CameraRenderer; a copy."""
        return self.data.qpos.copy()

    @property
    def grasp_point(self) -> NDArray[np.float64]:
        """[3] m, between the fingertips."""
        return self.data.site("grasp").xpos.copy()

    @property
    def cubes(self) -> dict[str, NDArray[np.float64]]:
        """Colour -> [3] centre, m."""
        return {c: self.data.body(f"{c}_cube").xpos.copy() for c in CUBES}

    def reset(
        self,
        joints: ArrayLike = HOME,
        cubes: Mapping[str, tuple[float, float, float]] | None = None,
    ) -> None:
        """Back to time 0, at rest: joints [6] clipped to their limits, cubes (x, y, yaw)."""
        mujoco.mj_resetData(self.model, self.data)
        self._steps = 0
        self.place_joints(joints)
        for colour, (x, y, yaw) in (cubes or {}).items():
            start = self._cube_qpos[colour]
            pose = [x, y, CUBE_HALF_SIZE, np.cos(yaw / 2), 0.0, 0.0, np.sin(yaw / 2)]
            self.data.qpos[start : start + 7] = pose
        mujoco.mj_forward(self.model, self.data)

    def place_joints(self, joints: ArrayLike) -> None:
        """Put the arm there at once, at rest and commanded to stay; the cubes keep their place."""
        positions = np.clip(np.asarray(joints, dtype=np.float64), *self.limits.T)
        self.data.qpos[self._qpos] = positions
        self.data.qvel[self._qvel] = 0.0
        self.data.act[:] = positions
        self.data.ctrl[:] = positions
        mujoco.mj_forward(self.model, self.data)

    def command(self, positions: ArrayLike) -> None:
        """Set the servos' set points [6]; a joint whose value is not finite keeps its former one.

        A driver's answer to NaN is not defined; holding is what a mock one does.
        """
        wanted = np.asarray(positions, dtype=np.float64)
        finite = np.isfinite(wanted)
        self.data.ctrl[finite] = np.clip(wanted, *self.limits.T)[finite]

    def step(self) -> None:
        """Advance by one period."""
        mujoco.mj_step(self.model, self.data, nstep=self._substeps)
        self._steps += 1
