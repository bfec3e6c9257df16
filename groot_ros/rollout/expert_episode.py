# SPDX-License-Identifier: Apache-2.0
"""One episode of a scripted expert: what it commands, and its images and states recorded directly.

`groot_ros.nodes.expert_node` records the same episode through topics.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import mujoco
import numpy as np
from numpy.typing import NDArray

from groot_ros.sim.arm import SimulatedArm
from groot_ros.sim.camera import CameraRenderer
from groot_ros.sim.disturbance import Disturbance
from groot_ros.sim.judge import Judge
from groot_ros.sim.table import Scene
from groot_ros.sim.table_expert import STEP, TableExpert
from groot_ros.sim.table_task import TableTask

#: Control period, s.
PERIOD = 0.004
_CYCLES = round(STEP / PERIOD)
#: Speed of the jaws, rad/s: their set points are binary, and the executor's limits slow them down.
_JAW_SPEED = 3.0
#: Steps of rest at the end, a horizon: policies learn there that they have arrived, and loaders
#: that leave out the last horizon of an episode still see everything before.
REST_STEPS = 16


@dataclass
class RecordedEpisode:
    """Rows of an episode; row i is i * STEP s after the start.

    Attributes:
        instruction: what the robot was told.
        images: view -> uint8 RGB [N, H, W, 3].
        states: measured joint positions [N, 6], rad.
        actions: active commands [N, 6], rad; those of the expert, without disturbances.
        labels: view -> [N, 4]: u, v of the named cube, then of where it should end, as shares of
            the image; outside 0 to 1 where they are out of view.
        succeeded: whether the judge was satisfied.
        after_policy: whether the expert took over from a policy.

    """

    instruction: str
    images: dict[str, NDArray[np.uint8]]
    states: NDArray[np.float64]
    actions: NDArray[np.float64]
    labels: dict[str, NDArray[np.float64]]
    succeeded: bool
    after_policy: bool = False


class ExpertRobot(ABC):
    """The robot that an expert moves, and that records what it does."""

    @abstractmethod
    def add_row(self, action: NDArray[np.float64]) -> None:
        """Record the present images and state with the present command [6] of the expert."""

    @abstractmethod
    def move(self, commands: NDArray[np.float64], intended: NDArray[np.float64]) -> None:
        """Execute one step.

        Args:
            commands: command of each control cycle [STEP / PERIOD, 6], rad, with disturbances.
            intended: command [6] at the end of the step that the expert gave.

        """


class DirectRobot(ExpertRobot):
    """Moves the arm without controllers, and collects the rows of one episode."""

    def __init__(
        self,
        task: TableTask,
        scene: Scene,
        judge: Judge,
        arm: SimulatedArm,
        renderer: CameraRenderer,
        views: Sequence[str],
    ) -> None:
        self._scene, self._judge, self._arm, self._renderer = scene, judge, arm, renderer
        self._goal = task.goal_point(scene)
        self._images: dict[str, list[NDArray[np.uint8]]] = {view: [] for view in views}
        self._labels: dict[str, list[NDArray[np.float64]]] = {view: [] for view in views}
        self._states: list[NDArray[np.float64]] = []
        self._actions: list[NDArray[np.float64]] = []

    def add_row(self, action: NDArray[np.float64]) -> None:
        """Record the present images and state with the present command [6]."""
        arm = self._arm
        points = np.stack([arm.cubes[self._scene.colour], self._goal])
        aspect = self._renderer.width / self._renderer.height
        for view, images in self._images.items():
            images.append(self._renderer.render(arm.scene, view))
            self._labels[view].append(project(arm, view, points, aspect).ravel())
        self._states.append(arm.positions)
        self._actions.append(action.copy())

    def move(self, commands: NDArray[np.float64], intended: NDArray[np.float64]) -> None:
        """Execute one step; the judge sees every control cycle."""
        for command in commands:
            self._arm.command(command)
            self._arm.step()
            self._judge.observe(self._arm)

    def episode(self, *, succeeded: bool, after_policy: bool) -> RecordedEpisode:
        """Return all rows; the arguments as of RecordedEpisode."""
        return RecordedEpisode(
            self._scene.instruction,
            {view: np.stack(images) for view, images in self._images.items()},
            np.stack(self._states),
            np.stack(self._actions),
            {view: np.stack(labels) for view, labels in self._labels.items()},
            succeeded,
            after_policy,
        )


def project(
    arm: SimulatedArm, camera: str, points: NDArray[np.float64], aspect: float
) -> NDArray[np.float64]:
    """Return u, v of points [K, 3] m in a camera's image, [K, 2], as shares of its size.

    u is to the right and v downwards. Points out of view are outside 0 to 1, at most by 1; points
    behind the camera are at -1.
    """
    data = arm.data
    mujoco.mj_camlight(arm.model, data)
    index = arm.model.camera(camera).id
    inside = (points - data.cam_xpos[index]) @ data.cam_xmat[index].reshape(3, 3)
    depth = np.maximum(-inside[:, 2], 1e-6)
    half = np.tan(np.radians(arm.model.cam_fovy[index]) / 2)
    across = inside[:, :2] / depth[:, None] / (half * aspect, -half)
    shares = np.clip(0.5 + 0.5 * across, -1.0, 2.0)
    return np.where(inside[:, 2:] < -1e-6, shares, -1.0)


def run_expert(
    task: TableTask,
    expert: TableExpert,
    judge: Judge,
    arm: SimulatedArm,
    robot: ExpertRobot,
    disturbance: Disturbance,
    rest_steps: int = REST_STEPS,
) -> None:
    """Let the expert act from the present state until it has succeeded and rested, or time is up.

    The first command is the present set points of the servos.

    Args:
        task: limits the time.
        expert: gives the commands.
        judge: of the episode; `robot` shows it every control cycle.
        arm: what the expert and the disturbance see.
        robot: executes the commands on this arm.
        disturbance: changes the commands.
        rest_steps: steps of rest at the end, of an expert that rests.

    """
    command = arm.data.ctrl.copy()
    jaw, clean, rested = float(command[5]), command, 0
    for _ in range(round(task.seconds / STEP)):
        robot.add_row(clean)
        clean = expert.next_command(command, arm)
        changed = disturbance.apply(clean, arm, may_move_cube=task.cube_may_move)
        commands = np.stack([*ramp(command, changed, jaw)])
        robot.move(commands, clean)
        jaw, command = float(commands[-1, 5]), changed
        rested += expert.done and judge.succeeded
        if rested > (rest_steps if expert.rests else 0):
            return


def ramp(
    before: NDArray[np.float64], after: NDArray[np.float64], jaw: float
) -> Iterator[NDArray[np.float64]]:
    """Yield the commands [6] of the control cycles of one step."""
    for cycle in range(_CYCLES):
        command = before + (cycle + 1) / _CYCLES * (after - before)
        limit = _JAW_SPEED * PERIOD
        jaw += float(np.clip(after[5] - jaw, -limit, limit))
        command[5] = jaw
        yield command
