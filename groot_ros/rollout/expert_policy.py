# SPDX-License-Identifier: Apache-2.0
"""The scripted expert as a policy: it proposes the motion that it would execute."""

import copy
from dataclasses import dataclass

import mujoco
import numpy as np
from numpy.typing import NDArray

from groot_ros.core import ActionChunk, ActionGroup, ActionKind, Observation, Prefix, ns_to_s
from groot_ros.observation.spec import ObservationSpec
from groot_ros.robot import RobotContract
from groot_ros.rollout.expert_episode import ramp
from groot_ros.sim.arm import SimulatedArm
from groot_ros.sim.model import model_of
from groot_ros.sim.robot import SimulatedRobot
from groot_ros.sim.table_expert import STEP, TableExpert


@dataclass(frozen=True)
class _Horizon:
    horizon: int


class ExpertPolicy:
    """Chunks of an expert that simulates the future from the robot's present state.

    Args:
        robot: whose state and objects it sees.
        expert: for the scene of the episode.
        contract: of the robot.
        horizon: steps of a chunk.

    """

    first_step = 0.0
    dt = STEP

    def __init__(
        self,
        robot: SimulatedRobot,
        expert: TableExpert,
        contract: RobotContract,
        horizon: int = 16,
    ) -> None:
        self.spec = _Horizon(horizon)
        self.joint_groups = tuple(contract.action_groups)
        self._contract = contract
        self._robot = robot
        self._future = SimulatedArm(ns_to_s(robot.period_ns), model_of(contract))
        # The bowl is part of the model, not of the state.
        self._future.model.body_pos[:] = robot.model.body_pos
        #: The expert as it will be at each step of the last chunk, and when that began.
        self._plan = [expert]
        self._plan_ns = robot.now_ns

    @staticmethod
    def observation_spec(contract: RobotContract) -> ObservationSpec:
        """Return what is observed for it: all, as for a policy."""
        return ObservationSpec(tuple(contract.cameras), tuple(contract.state_groups))

    def reset(self) -> None:
        """Do nothing: an expert serves one episode."""

    def infer(
        self, observation: Observation, prefix: Prefix | None = None, seed: int | None = None
    ) -> ActionChunk:
        """Return the present command and those of the next steps."""
        now_ns, robot = self._robot.now_ns, self._robot
        passed = round(ns_to_s(now_ns - self._plan_ns) / STEP)
        expert = copy.copy(self._plan[min(passed, len(self._plan) - 1)])
        self._plan, self._plan_ns = [copy.copy(expert)], now_ns
        with robot.lock:
            mujoco.mj_copyData(self._future.data, self._future.model, robot.arm.data)
        future = self._future
        command = future.data.ctrl.copy()
        jaw, rows = float(command[5]), [command]
        while len(rows) < self.spec.horizon:
            following = expert.next_command(command, future)
            for command_now in ramp(command, following, jaw):
                future.command(command_now)
                future.step()
            jaw, command = float(command_now[5]), following
            rows.append(command)
            self._plan.append(copy.copy(expert))
        return self._chunk(observation, now_ns, np.stack(rows))

    def _chunk(
        self, observation: Observation, now_ns: int, rows: NDArray[np.float64]
    ) -> ActionChunk:
        order = list(self._contract.joint_names)
        groups = tuple(
            ActionGroup(
                ActionKind.GRIPPER if name == "gripper" else ActionKind.JOINT_POSITION,
                name,
                group.joints,
                ("rad",) * len(group.joints),
                rows[:, [order.index(joint) for joint in group.joints]],
            )
            for name, group in self._contract.action_groups.items()
        )
        return ActionChunk(
            stamp_ns=observation.stamp_ns,
            # It has seen the state of now, not the one of the images.
            start_ns=now_ns,
            dt=STEP,
            groups=groups,
            instruction=observation.instruction,
        )
