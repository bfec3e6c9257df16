# SPDX-License-Identifier: Apache-2.0
"""Test bench: the executor with the simulated controllers, which can be deactivated or scaled."""

from collections.abc import Callable

import numpy as np

from groot_ros.control import Executor, ExecutorConfig, JointTrajectory, Update
from groot_ros.robot import RobotContract
from groot_ros.sim.controllers import RULES, TrajectoryController
from groot_ros.sim.trajectory import TrajectoryMessage, TrajectoryPoint
from support.control_bench import ARM, DT, EPOCH_NS, GRIPPER, JOINTS, chunk, contract

#: s of a control cycle; four of ten are ticks of the executor.
PERIOD = 0.004

#: (time of the observation, measured positions [4]) -> positions [16, 4] of a chunk.
Policy = Callable[[float, np.ndarray], np.ndarray]


def sine(amplitude: float = 0.6, frequency: float = 0.5) -> Policy:
    """Return a policy that follows a sine, at most `amplitude` from where it observes the robot."""

    def policy(t: float, measured: np.ndarray) -> np.ndarray:
        steps = np.arange(16) * DT
        omega = 2 * np.pi * frequency
        rise = amplitude * (np.sin(omega * (t + steps)) - np.sin(omega * t))
        return measured + rise[:, None] * np.array([1.0, 0.7, -0.5, 0.3])

    return policy


class ControllerBench:
    """Executor, controllers at 250 Hz and joints with a servo lag; times in s after the epoch.

    Attributes:
        commands: position commands [4] of all cycles.
        times: times of these cycles.
        arm: the controller of the arm.
        delay: s from sending to delivery of a message.
        latency: s from the observation to the chunk.
        policy_runs: whether chunks are sent.
        reports: whether the controllers' reports arrive.
        reported_scaling: factor that the arm's controller reports; by default the real one.

    """

    def __init__(
        self,
        policy: Policy,
        settings: ExecutorConfig | None = None,
        robot: RobotContract | None = None,
        *,
        lag: float = 0.0,
        delay: float = 0.002,
        latency: float = 0.1,
    ) -> None:
        self.executor = Executor(robot or contract(), settings)
        self.arm = TrajectoryController(tuple(reversed(ARM)), RULES["jazzy"], PERIOD)
        self.gripper = TrajectoryController((GRIPPER,), RULES["jazzy"], PERIOD)
        self.policy, self.delay, self.latency = policy, delay, latency
        self.policy_runs = self.reports = self.joint_states = True
        self.measured = np.zeros(4)
        self.velocity = np.zeros(4)
        self.times: list[float] = []
        self.commands: list[np.ndarray] = []
        self.rejected: list[str] = []
        self.sent: list[tuple[float, JointTrajectory]] = []
        self.reported_scaling: Callable[[float], float | None] = lambda factor: factor
        self._lag = lag
        self._cycle = 0
        self._ids = 0
        self._in_flight: list[tuple[float, JointTrajectory]] = []
        self._due: list[tuple[float, float, np.ndarray]] = []

    @property
    def t(self) -> float:
        return self._cycle * PERIOD

    @property
    def now_ns(self) -> int:
        return EPOCH_NS + round(self.t * 1e9)

    @property
    def state(self):
        return self.executor.state(self.now_ns)

    def scale(self, factor: float) -> None:
        """Scale the clock of the arm's controller, as the speed slider of a robot does."""
        self.arm.speed_scaling = factor

    def run(self, seconds: float) -> None:
        """Run all cycles of this time."""
        for _ in range(round(seconds / PERIOD)):
            self._one_cycle()

    def run_until(self, t: float) -> None:
        """Run all cycles until this time."""
        self.run(t - self.t)

    def largest_step(self, since: float) -> float:
        """Return the largest step of a command between two cycles from `since` on."""
        first = max(1, int(np.searchsorted(self.times, since - 1e-9)))
        return float(np.abs(np.diff(self.commands[first - 1 :], axis=0)).max())

    def _one_cycle(self) -> None:
        now = self.now_ns
        for due, trajectory in [m for m in self._in_flight if m[0] <= self.t + 1e-9]:
            self._in_flight.remove((due, trajectory))
            controller = self.arm if trajectory.controller == "arm" else self.gripper
            controller.accept(_message(trajectory), now)
        command = self.measured.copy()
        command[2::-1] = self.arm.update(now, self.measured[2::-1], self.velocity[2::-1])
        command[3:] = self.gripper.update(now, self.measured[3:], self.velocity[3:])
        self.times.append(self.t)
        self.commands.append(command)
        before = self.measured
        share = 1.0 if self._lag == 0.0 else PERIOD / self._lag
        self.measured = before + share * (command - before)
        self.velocity = (self.measured - before) / PERIOD
        self._cycle += 1
        self._report()
        # 100 Hz on a grid of 250 Hz.
        if (self._cycle * 2) % 5 < 2:
            self._tick()

    def _report(self) -> None:
        now = self.now_ns
        if self.joint_states:
            self.executor.observe(now, JOINTS, self.measured.tolist(), self.velocity.tolist())
        for name, controller in (("arm", self.arm), ("finger", self.gripper)):
            report = controller.report if self.reports and controller.active else None
            if report is not None:
                self.send(
                    self.executor.check_controller(
                        name,
                        report.stamp_ns,
                        report.reference,
                        now,
                        self.reported_scaling(report.speed_scaling),
                    )
                )

    def _tick(self) -> None:
        if self.policy_runs and self._cycle % 50 < 2:
            self._due.append((self.t + self.latency, self.t, self.policy(self.t, self.measured)))
        while self._due and self._due[0][0] <= self.t + 1e-9:
            _, observed, values = self._due.pop(0)
            self._ids += 1
            rejection = self.executor.receive(chunk(values, observed, id=self._ids), self.now_ns)
            if rejection is not None:
                self.rejected.append(rejection.reason)
        self.send(self.executor.update(self.now_ns))

    def send(self, update: Update | None) -> None:
        """Deliver the messages of an update after the delay."""
        for trajectory in () if update is None else update.trajectories:
            self.sent.append((self.t, trajectory))
            self._in_flight.append((self.t + self.delay, trajectory))


def _message(trajectory: JointTrajectory) -> TrajectoryMessage:
    rows = zip(trajectory.offsets_ns, trajectory.positions, trajectory.velocities, strict=True)
    return TrajectoryMessage(
        trajectory.stamp_ns,
        trajectory.joint_names,
        [TrajectoryPoint(int(t), p, v) for t, p, v in rows],
    )
