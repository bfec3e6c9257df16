# SPDX-License-Identifier: Apache-2.0
"""The MuJoCo model of arm, table and cubes, and its physics: servos that follow set points."""

import math
from collections.abc import Mapping
from importlib import resources

import mujoco
import numpy as np
from numpy.typing import ArrayLike, NDArray

from groot_ros.core import s_to_ns

#: The arm's joints, in the order of every [6] array of this package.
JOINTS = (
    "shoulder_pan",
    "shoulder_lift",
    "elbow_flex",
    "wrist_flex",
    "wrist_roll",
    "gripper",
)
#: Colours of the cubes; the body is called "<colour>_cube".
CUBES = ("red", "green", "blue")
#: Half the edge of a cube, m.
CUBE_HALF_SIZE = 0.015
#: Rest position of the arm, rad: the hand raised over the table, the wrist camera on the cubes.
HOME: NDArray[np.float64] = np.array([0.0, -0.8, 0.5, 1.3, 0.0, 0.2])
HOME.setflags(write=False)
#: Longest integration step, s; the stiff servos are not integrated well with longer ones.
_MAX_TIMESTEP = 0.002


def load_model() -> mujoco.MjModel:
    """Return a new model of arm, table and cubes; new because models can be changed."""
    text = resources.files("groot_ros.sim").joinpath("so101.xml").read_text(encoding="utf-8")
    return mujoco.MjModel.from_xml_string(text)


def joint_limits(model: mujoco.MjModel) -> NDArray[np.float64]:
    """Return the lower and upper position of each joint, [6, 2] rad."""
    return np.array([model.joint(name).range for name in JOINTS])


class SimulatedArm:
    """Arm of six servos with lag and limits under gravity; not thread-safe.

    Joint arrays are float64 [6] in the order of `JOINTS`, rad and rad/s. One step lasts `period`
    s, the control period.
    """

    def __init__(self, period: float = 0.004) -> None:
        self.model = load_model()
        self._substeps = math.ceil(period / _MAX_TIMESTEP - 1e-9)
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
        """Simulated time since the last reset, ns, exact."""
        return self._steps * self._period_ns

    @property
    def positions(self) -> NDArray[np.float64]:
        """Measured joint positions [6], rad, a copy."""
        return self.data.qpos[self._qpos].copy()

    @property
    def velocities(self) -> NDArray[np.float64]:
        """Measured joint velocities [6], rad/s, a copy."""
        return self.data.qvel[self._qvel].copy()

    @property
    def efforts(self) -> NDArray[np.float64]:
        """Torques of the servos [6], N m, a copy."""
        return self.data.actuator_force.copy()

    @property
    def scene(self) -> NDArray[np.float64]:
        """Positions of all bodies, for a CameraRenderer; a copy."""
        return self.data.qpos.copy()

    @property
    def grasp_point(self) -> NDArray[np.float64]:
        """Point between the fingertips, [3] m."""
        return self.data.site("grasp").xpos.copy()

    @property
    def cubes(self) -> dict[str, NDArray[np.float64]]:
        """Colour -> centre of the cube, [3] m."""
        return {c: self.data.body(f"{c}_cube").xpos.copy() for c in CUBES}

    def reset(
        self,
        joints: ArrayLike = HOME,
        cubes: Mapping[str, tuple[float, float, float]] | None = None,
    ) -> None:
        """Reset to time 0, at rest.

        Args:
            joints: positions [6], clipped to the limits.
            cubes: colour -> (x, y, yaw) in m and rad; other cubes are put where the model has them.

        """
        mujoco.mj_resetData(self.model, self.data)
        self._steps = 0
        self.place_joints(joints)
        for colour, (x, y, yaw) in (cubes or {}).items():
            start = self._cube_qpos[colour]
            pose = [x, y, CUBE_HALF_SIZE, np.cos(yaw / 2), 0.0, 0.0, np.sin(yaw / 2)]
            self.data.qpos[start : start + 7] = pose
        mujoco.mj_forward(self.model, self.data)

    def place_joints(self, joints: ArrayLike) -> None:
        """Set the joint positions [6], at rest and commanded to stay; the cubes do not move."""
        positions = np.clip(np.asarray(joints, dtype=np.float64), *self.limits.T)
        self.data.qpos[self._qpos] = positions
        self.data.qvel[self._qvel] = 0.0
        self.data.act[:] = positions
        self.data.ctrl[:] = positions
        mujoco.mj_forward(self.model, self.data)

    def command(self, positions: ArrayLike) -> None:
        """Set the servos' set points [6]; a joint whose value is not finite keeps its set point.

        The response of drivers to NaN is not specified; holding is what a mock driver does.
        """
        targets = np.asarray(positions, dtype=np.float64)
        finite = np.isfinite(targets)
        self.data.ctrl[finite] = np.clip(targets, *self.limits.T)[finite]

    def step(self) -> None:
        """Advance by one control period."""
        mujoco.mj_step(self.model, self.data, nstep=self._substeps)
        self._steps += 1
