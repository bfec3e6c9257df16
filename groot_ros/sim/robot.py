# SPDX-License-Identifier: Apache-2.0
"""The simulated robot: its joints, and a controller for each of the contract's."""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import mujoco
import numpy as np
from numpy.typing import NDArray

from groot_ros.core import s_to_ns
from groot_ros.robot import RobotContract
from groot_ros.sim.arm import SimulatedArm
from groot_ros.sim.controllers import (
    RULES,
    ControllerReport,
    DigitalController,
    Distro,
    ForwardController,
    GoalOutcome,
    GripperController,
    TrajectoryController,
)
from groot_ros.sim.model import model_of
from groot_ros.sim.tasks import default_task
from groot_ros.sim.trajectory import TrajectoryMessage


@dataclass(frozen=True)
class JointReading:
    """Positions, velocities and efforts [n] of some joints at one instant."""

    stamp_ns: int
    names: tuple[str, ...]
    positions: NDArray[np.float64]
    velocities: NDArray[np.float64]
    efforts: NDArray[np.float64]


class SimulatedRobot:
    """Controllers and joints in one control cycle; thread-safe.

    Attributes:
        period_ns: length of the control cycle.
        observer: called with the arm after each cycle, in the thread that runs the cycles.
        encoder_error: what each joint measures minus where it is, rad; grippers have none. The
            controllers use what is measured, so they move the joints this much too low.

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
        """Create the robot at rest at home.

        Args:
            contract: names the model; its joints must be the model's.
            start_ns: time of the initial state.
            distro: ROS distribution whose controllers are simulated.
            control_rate: rate of the control cycle, Hz.
            seed: seed of the cubes' places: those of the robot's task, or near those of the
                model for a robot without a task.

        Raises:
            ValueError: there is no such model, or the contract names a joint that it does not
                have.

        """
        period = 1.0 / control_rate
        self.period_ns = s_to_ns(period)
        self.observer: Callable[[SimulatedArm], None] | None = None
        self.encoder_error = 0.0
        self._exact = {name for name, joint in contract.joints.items() if joint.gripper is not None}
        self._arm = SimulatedArm(period, model_of(contract))
        self._rng = np.random.default_rng(seed)
        self._task = default_task(contract.robot)
        self._lock = threading.Lock()
        self._now_ns = start_ns
        self._trajectory: dict[str, TrajectoryController] = {}
        self._forward: dict[str, ForwardController] = {}
        self._grippers: dict[str, GripperController] = {}
        self._digital: dict[str, DigitalController] = {}
        for controller in contract.controllers:
            name, joints = controller.name, controller.joints
            self._rows(f"controller '{name}'", joints)
            if controller.command == "positions":
                self._forward[name] = ForwardController(joints)
            elif controller.command == "trajectory":
                self._trajectory[name] = TrajectoryController(joints, RULES[distro], period)
            elif controller.has_topic:
                limits = contract.joints[joints[0]].limits
                self._digital[name] = DigitalController(joints, limits.lower, limits.upper)
            else:
                self._grippers[name] = GripperController(joints)
        for source in contract.sources:
            self._rows(f"source '{source.name}'", source.joints)
        self.reset()

    @property
    def arm(self) -> SimulatedArm:
        """The joints and objects; hold `lock` while another thread runs cycles."""
        return self._arm

    @property
    def lock(self) -> threading.Lock:
        """Lock of the state."""
        return self._lock

    @property
    def model(self) -> mujoco.MjModel:
        """The MuJoCo model, for a CameraRenderer."""
        return self._arm.model

    @property
    def joints(self) -> tuple[str, ...]:
        """Names of all joints of the model."""
        return self._arm.joints

    @property
    def now_ns(self) -> int:
        """Time of the robot's state."""
        return self._now_ns

    @property
    def scene(self) -> NDArray[np.float64]:
        """Positions of all bodies, for a CameraRenderer."""
        with self._lock:
            return self._arm.scene

    @property
    def cubes(self) -> Mapping[str, NDArray[np.float64]]:
        """Colour -> centre of the cube, [3] m."""
        with self._lock:
            return self._arm.cubes

    def reading(self, joints: Sequence[str]) -> JointReading:
        """Return the measured state of these joints."""
        with self._lock:
            rows = self._rows("reading", joints)
            arm = self._arm
            return JointReading(
                self._now_ns,
                tuple(joints),
                arm.positions[rows] + self._errors(joints),
                arm.velocities[rows],
                arm.efforts[rows],
            )

    def accept_trajectory(self, controller: str, message: TrajectoryMessage) -> None:
        """Pass a message to a joint_trajectory_controller; raises TrajectoryRejected."""
        if self.encoder_error:
            errors = self._errors(message.joint_names)
            points = [
                replace(point, positions=(np.asarray(point.positions) - errors).tolist())
                if len(point.positions) == len(errors)
                else point
                for point in message.points
            ]
            message = replace(message, points=points)
        with self._lock:
            self._trajectory[controller].accept(message, self._now_ns)

    def controller_report(self, controller: str) -> ControllerReport | None:
        """Return the report of a joint_trajectory_controller; None before its first cycle."""
        with self._lock:
            report = self._trajectory[controller].report
            if report is None or not self.encoder_error:
                return report
            joints = self._trajectory[controller].joints
            errors = dict(zip(joints, self._errors(joints).tolist(), strict=True))
            return replace(
                report,
                reference={j: at + errors[j] for j, at in report.reference.items()},
                feedback={j: at + errors[j] for j, at in report.feedback.items()},
                output={j: at + errors[j] for j, at in report.output.items()},
            )

    def accept_values(self, controller: str, values: Sequence[float]) -> None:
        """Pass a command to a forward_command_controller; ValueError for a wrong size."""
        with self._lock:
            self._forward[controller].accept(values)

    def accept_goal(self, controller: str, position: float) -> None:
        """Pass a goal, rad or m, to the controller of a gripper; it replaces the present one."""
        with self._lock:
            self._grippers[controller].accept(position)

    def cancel_goal(self, controller: str) -> None:
        """Let the controller of a gripper hold its position instead of its goal."""
        with self._lock:
            self._grippers[controller].hold()

    def goal_outcome(self, controller: str) -> GoalOutcome | None:
        """Return how the goal of a gripper has ended; None while it moves."""
        with self._lock:
            return self._grippers[controller].outcome

    def accept_flag(self, controller: str, value: bool) -> None:
        """Set a digital output."""
        with self._lock:
            self._digital[controller].accept(value)

    def flag(self, controller: str) -> bool | None:
        """Return a digital output; None before it was set."""
        with self._lock:
            return self._digital[controller].value

    def cycle(self) -> None:
        """Run one control period: read the state, update the controllers, move the joints."""
        with self._lock:
            positions, velocities = self._arm.positions, self._arm.velocities
            # NaN: joints without a controller keep their set points.
            command = np.full(len(self._arm.joints), np.nan)
            for trajectory in self._trajectory.values():
                rows = self._rows("controller", trajectory.joints)
                command[rows] = trajectory.update(self._now_ns, positions[rows], velocities[rows])
            for gripper in self._grippers.values():
                rows = self._rows("controller", gripper.joints)
                command[rows] = gripper.update(self._now_ns, positions[rows], velocities[rows])
            direct: list[ForwardController | DigitalController] = []
            direct += [*self._forward.values(), *self._digital.values()]
            for plain in direct:
                rows = self._rows("controller", plain.joints)
                command[rows] = plain.update(positions[rows])
            self._arm.command(command)
            self._arm.step()
            self._now_ns += self.period_ns
            if self.observer is not None:
                self.observer(self._arm)

    @property
    def busy(self) -> bool:
        """Return whether a controller is following a trajectory."""
        with self._lock:
            return any(controller.busy for controller in self._trajectory.values())

    def reset(self, start: Callable[[SimulatedArm], None] | None = None) -> None:
        """Put the joints home and at rest and the cubes in their next places; controllers hold.

        Time continues; the seed determines the places. `start` resets the arm in another way.
        """
        with self._lock:
            if start is not None:
                start(self._arm)
            elif self._task:
                self._task.reset(self._arm, self._rng)
            else:
                self._arm.reset(cubes=self._arm.scattered_cubes(self._rng))
            for controllers in (self._trajectory, self._forward, self._grippers, self._digital):
                for controller in controllers.values():
                    controller.hold()

    def jump_to(self, now_ns: int) -> None:
        """Set the time after a jump of the clock; the controllers hold."""
        with self._lock:
            self._now_ns = now_ns
            for controller in self._trajectory.values():
                controller.hold()

    def _errors(self, joints: Sequence[str]) -> NDArray[np.float64]:
        return np.array([0.0 if joint in self._exact else self.encoder_error for joint in joints])

    def _rows(self, what: str, joints: Sequence[str]) -> list[int]:
        """Return the rows of these joints in the model; ValueError names one that it lacks."""
        known = self._arm.joints
        for joint in joints:
            if joint not in known:
                raise ValueError(
                    f"{what}: the simulated robot does not have joint '{joint}' "
                    f"(it has: {', '.join(known)})"
                )
        return [known.index(joint) for joint in joints]
