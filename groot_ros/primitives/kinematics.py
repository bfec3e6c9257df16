# SPDX-License-Identifier: Apache-2.0
"""Kinematics of the arm that carries the tool of the contract's table, by mink."""

import math
from collections.abc import Iterator, Sequence

import mink
import numpy as np
from numpy.typing import ArrayLike, NDArray

from groot_ros.core import ToolPose
from groot_ros.primitives.arm_model import ArmModel
from groot_ros.robot import RobotContract

Array = NDArray[np.float64]

#: Accuracy of a solution, m and rad.
POSITION_TOLERANCE, ROTATION_TOLERANCE = 1e-5, 1e-4
#: Distance from the position limits of the contract that solutions keep, rad or m.
LIMIT_MARGIN = 0.01
#: Largest step of a joint between two way points 1 cm or 2 degrees apart, rad or m: a larger one
#: leads to another posture, or past a singular one.
MAX_JUMP = 0.2
_ITERATIONS = 80
#: Iterations without progress after which a pose counts as out of reach.
_STALLED = 12
#: Largest step of a joint in one iteration, rad or m.
_MAX_STEP = 0.5
#: Cost of rotation errors (rad) against position errors (m), and of the distance from rest.
_ROTATION_COST, _POSTURE_COST = 0.3, 1e-3
_SOLVER, _DAMPING = "daqp", 1e-8
_RESTARTS = 6


class UnreachableError(ValueError):
    """An action cannot be executed; the message names the pose and the reason."""


class ArmKinematics:
    """Forward and inverse kinematics of one arm in the table frame.

    Joint arrays are [n], rad or m, in the order of `arm`. Not thread-safe.

    Attributes:
        contract: the robot contract.
        table: its section `table`.
        joints: names of all commanded joints, in the contract's order: those of every path.
        arm: names of the n joints between base and tool, in this order.
        gripper: name of the commanded gripper joint, for example of a suction cup; None without.

    """

    def __init__(self, contract: RobotContract) -> None:
        """Load the model of the contract, without the objects that lie around.

        Raises:
            ValueError: the contract has no table or model, or the model does not fit; one line.

        """
        self._model = ArmModel.load(contract)
        self.contract = contract
        self.table = self._model.table
        self.arm = self._model.arm
        commanded = {j for group in contract.action_groups.values() for j in group.joints}
        self.joints = tuple(name for name in contract.joint_names if name in commanded)
        grippers = [name for name in self.joints if contract.joints[name].gripper]
        if len(grippers) > 1:
            raise ValueError(
                f"robot '{contract.robot}' commands several grippers ({', '.join(grippers)}), but "
                "poses are planned for one tool: use a contract with one of them"
            )
        self.gripper = grippers[0] if grippers else None
        fixed = [name for name in self.arm if name not in self.joints]
        if fixed:
            raise ValueError(
                f"{', '.join(fixed)} of robot '{contract.robot}' are between the base and the tool "
                f"'{self.table.tool}', but no action group commands them: add them to 'outputs'"
            )
        self._configuration = mink.Configuration(self._model.mujoco)
        self._task = self._frame_task([_ROTATION_COST] * 3)
        free = [0.0, 1.0, 1.0] if self.table.tool_axis == "x" else [1.0, 1.0, 0.0]
        self._any_yaw = self._frame_task([_ROTATION_COST * share for share in free])
        self._posture = mink.PostureTask(self._model.mujoco, cost=_POSTURE_COST)
        self._posture.set_target(self._qpos(self._model.home))
        self._limits = [
            mink.ConfigurationLimit(
                self._model.mujoco, gain=0.95, min_distance_from_limits=LIMIT_MARGIN
            )
        ]
        margins = np.where(np.isfinite(self._model.limits), (LIMIT_MARGIN, -LIMIT_MARGIN), 0.0)
        self._within = self._model.limits + margins

    @property
    def home(self) -> Array:
        """Return the rest position [n] of the model, else the middle of the limits."""
        return self._model.home.copy()

    def pose(self, q: ArrayLike) -> ToolPose:
        """Return the pose of the tool at joint positions [n]."""
        self._configuration.update(self._qpos(q))
        return self._model.in_table_frame(
            self._configuration.get_transform_frame_to_world(
                self._model.tool, self._model.tool_kind
            )
        )

    def clearance(self, q: ArrayLike) -> float:
        """Return the height of the lowest part of the arm over the surface, m.

        Parts count with their bounding boxes, which can only make it smaller.
        """
        self._configuration.update(self._qpos(q))
        return self._model.lowest_part(self._configuration.data)

    def solve(
        self, pose: ToolPose, seed: ArrayLike | None = None, *, any_yaw: bool = False
    ) -> Array:
        """Return joint positions [n] at which the tool has a pose.

        Of several solutions, it is the one that the search from `seed` [n] (by default the rest
        position) finds; the search is repeatable, and prefers postures near rest.

        Args:
            pose: pose of the tool in the table frame.
            seed: joint positions [n] where the search begins.
            any_yaw: whether the tool may be turned about its axis.

        Raises:
            UnreachableError: there is none within the position limits of the contract.

        """
        failure = UnreachableError("")
        for i, start in enumerate(self._starts(seed)):
            try:
                return self._search(pose, start, any_yaw=any_yaw, rest=True)
            except UnreachableError as error:
                failure = error if i == 0 else failure
        raise failure

    def follow(self, poses: Sequence[ToolPose], q: ArrayLike) -> Array:
        """Return joint positions [m, n] for m poses close to each other, without a jump.

        Args:
            poses: at most 1 cm and 2 degrees apart, the first from the pose at `q`.
            q: joint positions [n] before the first pose.

        Raises:
            UnreachableError: a pose is out of reach, or only with another posture of the arm.

        """
        rows = [np.asarray(q, dtype=np.float64)]
        for pose in poses:
            rows.append(self._search(pose, rows[-1]))
            jump = np.abs(rows[-1] - rows[-2])
            if jump.max() > MAX_JUMP:
                raise UnreachableError(
                    f"pose {pose}: {self.arm[int(jump.argmax())]} would jump by "
                    f"{jump.max():.2f} rad or m on the straight line to it"
                )
        return np.array(rows[1:])

    def _frame_task(self, rotation_cost: list[float]) -> mink.FrameTask:
        return mink.FrameTask(
            self._model.tool, self._model.tool_kind, 1.0, rotation_cost, lm_damping=1e-3
        )

    def _starts(self, seed: ArrayLike | None) -> Iterator[Array]:
        if seed is not None:
            yield np.asarray(seed, dtype=np.float64)
        yield self._model.home
        rng = np.random.default_rng(0)
        for _ in range(_RESTARTS):
            yield rng.uniform(*self._model.search_range.T)

    def _search(
        self, pose: ToolPose, start: Array, *, any_yaw: bool = False, rest: bool = False
    ) -> Array:
        """Return joint positions [n] for a pose, searched from `start` [n].

        With `rest`, redundant joints move towards rest, else only as far as the pose demands.
        """
        configuration, task = self._configuration, self._any_yaw if any_yaw else self._task
        configuration.update(self._qpos(np.clip(start, *self._within.T)))
        task.set_target(self._model.in_world(pose))
        best, since = np.inf, 0
        for _ in range(_ITERATIONS):
            error = task.compute_error(configuration) * (task.cost > 0.0)
            distance, angle = float(np.linalg.norm(error[:3])), float(np.linalg.norm(error[3:]))
            if distance < POSITION_TOLERANCE and angle < ROTATION_TOLERANCE:
                q: Array = configuration.q[self._model.qpos]
                return q
            total = distance + _ROTATION_COST * angle
            since = 0 if total < 0.98 * best else since + 1
            best = min(best, total)
            if since > _STALLED:
                break
            # Near the pose the posture only keeps the search from ending.
            near = distance < 1e-3 and angle < 1e-2
            tasks = [task, self._posture] if rest and not near else [task]
            try:
                step = mink.solve_ik(
                    configuration, tasks, 1.0, _SOLVER, _DAMPING, limits=self._limits
                )
            except mink.NoSolutionFound:
                break
            longest = max(float(np.abs(step).max()), _MAX_STEP)
            configuration.integrate_inplace(step, _MAX_STEP / longest)
        raise self._unreachable(pose, distance, angle)

    def _unreachable(self, pose: ToolPose, distance: float, angle: float) -> UnreachableError:
        q = self._configuration.q[self._model.qpos]
        near = np.any(np.abs(q[:, None] - self._within) < 1e-3, axis=1).tolist()
        stopped = [name for name, at_limit in zip(self.arm, near, strict=True) if at_limit]
        why = f", with {', '.join(stopped)} at the limit" if stopped else ""
        return UnreachableError(
            f"pose {pose}: is out of reach of robot '{self.contract.robot}': the tool comes no "
            f"nearer than {1000 * distance:.0f} mm and {math.degrees(angle):.0f} degrees{why}"
        )

    def _qpos(self, q: ArrayLike) -> Array:
        qpos: Array = self._model.mujoco.qpos0.copy()
        qpos[self._model.qpos] = q
        return qpos
