"""The whole simulated robot: the arm, and a controller for each of the contract's."""

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import mujoco
import numpy as np
from numpy.typing import NDArray

from groot_ros.core import s_to_ns
from groot_ros.robot import RobotContract
from groot_ros.sim.arm import SimulatedArm
from groot_ros.sim.forward_controller import ForwardController
from groot_ros.sim.scene import JOINTS
from groot_ros.sim.task import place_cubes
from groot_ros.sim.trajectory import TrajectoryMessage
from groot_ros.sim.trajectory_controller import RULES, Distro, TrajectoryController


@dataclass(frozen=True)
class JointReading:
    """Positions, velocities and efforts [n] of some joints at one instant."""

    stamp_ns: int
    names: tuple[str, ...]
    positions: NDArray[np.float64]
    velocities: NDArray[np.float64]
    efforts: NDArray[np.float64]


class SimulatedRobot:
    """Controllers and arm in one control cycle; every method may be called from any thread.

    Attributes:
        period_ns: of the control cycle.

    """

    def __init__(
        self,
        contract: RobotContract,
        start_ns: int,
        *,
        distro: Distro = "jazzy",
        control_rate: float = 250.0,
        seed: int = 0,
    ) -> None:
        """Raises ValueError when the contract names a joint that this robot has not."""
        period = 1.0 / control_rate
        self.period_ns = s_to_ns(period)
        self._arm = SimulatedArm(period)
        self._rng = np.random.default_rng(seed)
        self._lock = threading.Lock()
        self._now_ns = start_ns
        self._trajectory: dict[str, TrajectoryController] = {}
        self._forward: dict[str, ForwardController] = {}
        for controller in contract.controllers:
            _known("controller", controller.name, controller.joints)
            if controller.type == "joint_trajectory_controller":
                self._trajectory[controller.name] = TrajectoryController(
                    controller.joints, RULES[distro], period
                )
            else:
                self._forward[controller.name] = ForwardController(controller.joints)
        for source in contract.joint_states:
            _known("joint_states", source.topic, source.joints)
        self.reset()

    @property
    def model(self) -> mujoco.MjModel:
        """The MuJoCo model, for a CameraRenderer."""
        return self._arm.model

    @property
    def now_ns(self) -> int:
        """The instant that the robot's state belongs to."""
        return self._now_ns

    @property
    def scene(self) -> NDArray[np.float64]:
        """Where everything is now, for a CameraRenderer."""
        with self._lock:
            return self._arm.scene

    @property
    def cubes(self) -> Mapping[str, NDArray[np.float64]]:
        """Colour -> [3] centre, m."""
        with self._lock:
            return self._arm.cubes

    def reading(self, joints: Sequence[str]) -> JointReading:
        """What the sensors of these joints say now."""
        with self._lock:
            rows = [JOINTS.index(joint) for joint in joints]
            arm = self._arm
            return JointReading(
                self._now_ns,
                tuple(joints),
                arm.positions[rows],
                arm.velocities[rows],
                arm.efforts[rows],
            )

    def accept_trajectory(self, controller: str, message: TrajectoryMessage) -> None:
        """Give a joint_trajectory_controller a message; raises TrajectoryRejected."""
        with self._lock:
            self._trajectory[controller].accept(message, self._now_ns)

    def accept_values(self, controller: str, values: Sequence[float]) -> None:
        """Give a forward_command_controller its command; ValueError for a wrong size."""
        with self._lock:
            self._forward[controller].accept(values)

    def cycle(self) -> None:
        """One control period: read, let the controllers command, move."""
        with self._lock:
            positions, velocities = self._arm.positions, self._arm.velocities
            # NaN leaves the joints that no controller claims where they are.
            command = np.full(len(JOINTS), np.nan)
            for trajectory in self._trajectory.values():
                rows = [JOINTS.index(joint) for joint in trajectory.joints]
                command[rows] = trajectory.update(self._now_ns, positions[rows], velocities[rows])
            for forward in self._forward.values():
                rows = [JOINTS.index(joint) for joint in forward.joints]
                command[rows] = forward.update(positions[rows])
            self._arm.command(command)
            self._arm.step()
            self._now_ns += self.period_ns

    @property
    def busy(self) -> bool:
        """Whether some controller is following a trajectory."""
        with self._lock:
            return any(controller.busy for controller in self._trajectory.values())

    def reset(self) -> None:
        """Arm home and at rest, cubes in new places (the seed's next), controllers holding.

        Time goes on.
        """
        with self._lock:
            self._arm.reset(cubes=place_cubes(self._rng))
            for trajectory in self._trajectory.values():
                trajectory.hold()
            for forward in self._forward.values():
                forward.hold()

    def jump_to(self, now_ns: int) -> None:
        """Call the present instant another: the clock was set, or the machine was asleep."""
        with self._lock:
            self._now_ns = now_ns
            for controller in self._trajectory.values():
                controller.hold()


def _known(kind: str, name: str, joints: Sequence[str]) -> None:
    for joint in joints:
        if joint not in JOINTS:
            raise ValueError(
                f"{kind} '{name}': the simulated robot has no joint '{joint}' "
                f"(it has: {', '.join(JOINTS)})"
            )
