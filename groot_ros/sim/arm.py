# SPDX-License-Identifier: Apache-2.0
"""Physics of the simulated robot's joints and cubes: servos that follow set points."""

import math
from collections.abc import Mapping
from pathlib import Path

import mujoco
import numpy as np
from numpy.typing import ArrayLike, NDArray

from groot_ros.core import s_to_ns
from groot_ros.sim.model import RobotModel, shipped_model

#: Longest integration step, s; the stiff servos are not integrated well with longer ones.
_MAX_TIMESTEP = 0.002


class SimulatedArm:
    """n servos with lag and limits under gravity, on one or more arms; not thread-safe.

    Joint arrays are float64 [n] in the order of `joints`, rad or m, and per s. One step lasts
    `period` s, the control period.
    """

    def __init__(self, period: float = 0.004, model: Path | None = None) -> None:
        """Load a model; by default the SO-101.

        Raises:
            ValueError: as RobotModel.load.

        """
        self._robot = RobotModel.load(shipped_model("so101") if model is None else model)
        self.model = self._robot.mujoco
        self._substeps = math.ceil(period / _MAX_TIMESTEP - 1e-9)
        self.model.opt.timestep = period / self._substeps
        self._period_ns = s_to_ns(period)
        self.data = mujoco.MjData(self.model)
        self.joints = self._robot.joints
        self.limits = self._robot.limits
        self.home = self._robot.home
        self._cube_qpos = {
            c: int(self.model.jnt_qposadr[self.model.body(f"{c}_cube").jntadr[0]])
            for c in self._robot.cubes
        }
        self._steps = 0
        self.reset()

    @property
    def time_ns(self) -> int:
        """Simulated time since the last reset, ns, exact."""
        return self._steps * self._period_ns

    @property
    def positions(self) -> NDArray[np.float64]:
        """Measured joint positions [n], rad or m, a copy."""
        positions: NDArray[np.float64] = self.data.ctrl.copy()
        positions[self._robot.rows] = self.data.qpos[self._robot.qpos]
        return positions

    @property
    def velocities(self) -> NDArray[np.float64]:
        """Measured joint velocities [n], rad/s or m/s, a copy."""
        velocities = np.zeros(len(self.joints))
        velocities[self._robot.rows] = self.data.qvel[self._robot.qvel]
        return velocities

    @property
    def efforts(self) -> NDArray[np.float64]:
        """Torques or forces of the servos [n], N m or N, a copy."""
        return self.data.actuator_force.copy()

    @property
    def scene(self) -> NDArray[np.float64]:
        """Positions of all bodies, for a CameraRenderer; a copy."""
        return self.data.qpos.copy()

    @property
    def grasp_point(self) -> NDArray[np.float64]:
        """Point between the fingertips or under the suction cup of a robot with one arm, [3] m."""
        return self.data.site("grasp").xpos.copy()

    @property
    def cubes(self) -> dict[str, NDArray[np.float64]]:
        """Colour -> centre of the cube, [3] m."""
        return {c: self.data.body(f"{c}_cube").xpos.copy() for c in self._cube_qpos}

    def scattered_cubes(
        self, rng: np.random.Generator, jitter: float = 0.01
    ) -> dict[str, tuple[float, float, float]]:
        """Return colour -> (x, y, yaw) in m and rad, up to `jitter` m off the model's places."""
        places = {}
        for colour, start in self._cube_qpos.items():
            x, y = self.model.qpos0[start : start + 2] + rng.uniform(-jitter, jitter, 2)
            places[colour] = (float(x), float(y), 0.0)
        return places

    def reset(
        self,
        joints: ArrayLike | None = None,
        cubes: Mapping[str, tuple[float, float, float]] | None = None,
        objects: Mapping[str, tuple[float, float, float]] | None = None,
    ) -> None:
        """Reset to time 0, at rest.

        Args:
            joints: positions [n], clipped to the limits; by default home.
            cubes: colour -> (x, y, yaw) in m and rad; other cubes are put where the model has them.
            objects: name of the body of another object that moves freely -> (x, y, yaw).

        """
        mujoco.mj_resetData(self.model, self.data)
        self._steps = 0
        self.place_joints(self.home if joints is None else joints)
        starts = {self._cube_qpos[colour]: place for colour, place in (cubes or {}).items()}
        for name, place in (objects or {}).items():
            starts[int(self.model.jnt_qposadr[self.model.body(name).jntadr[0]])] = place
        for start, (x, y, yaw) in starts.items():
            height = self.model.qpos0[start + 2]
            pose = [x, y, height, np.cos(yaw / 2), 0.0, 0.0, np.sin(yaw / 2)]
            self.data.qpos[start : start + 7] = pose
        mujoco.mj_forward(self.model, self.data)

    def place_joints(self, joints: ArrayLike) -> None:
        """Set the joint positions [n], at rest and commanded to stay; the cubes do not move."""
        robot = self._robot
        positions = np.clip(np.asarray(joints, dtype=np.float64), *self.limits.T)
        self.data.qpos[robot.qpos] = positions[robot.rows]
        self.data.qvel[robot.qvel] = 0.0
        filtered = robot.act >= 0
        self.data.act[robot.act[filtered]] = positions[robot.rows[filtered]]
        self.data.ctrl[:] = positions
        for follower, row in robot.mirrored:
            self.data.qpos[follower] = positions[row]
        mujoco.mj_forward(self.model, self.data)

    def shift_cube(self, colour: str, offset: ArrayLike) -> None:
        """Move a cube by (x, y), m, at rest; its height and direction stay the same."""
        start = self._cube_qpos[colour]
        self.data.qpos[start : start + 2] += np.asarray(offset, dtype=np.float64)
        dof = int(self.model.jnt_dofadr[self.model.body(f"{colour}_cube").jntadr[0]])
        self.data.qvel[dof : dof + 6] = 0.0
        mujoco.mj_forward(self.model, self.data)

    def command(self, positions: ArrayLike) -> None:
        """Set the servos' set points [n]; a joint whose value is not finite keeps its set point.

        The response of drivers to NaN is not specified; holding is what a mock driver does.
        """
        targets = np.asarray(positions, dtype=np.float64)
        finite = np.isfinite(targets)
        self.data.ctrl[finite] = np.clip(targets, *self.limits.T)[finite]

    def step(self) -> None:
        """Advance by one control period."""
        mujoco.mj_step(self.model, self.data, nstep=self._substeps)
        self._steps += 1
