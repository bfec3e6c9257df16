# SPDX-License-Identifier: Apache-2.0
"""The controllers of the simulator: one class for each kind of command.

Only the conversion of messages to position commands is simulated, with the default parameters: a
position command interface, position and velocity state interfaces, no tolerances, no cmd_timeout,
all joints in each message. The tests compare with measurements of the real controllers, except for
grippers, which follow the source of gripper_action_controller.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from groot_ros.core import s_to_ns
from groot_ros.sim.trajectory import (
    Knot,
    SampledTrajectory,
    TrajectoryMessage,
    check_trajectory,
)

Distro = Literal["jazzy", "humble"]


@dataclass(frozen=True)
class ControllerRules:
    """Behaviour that depends on the distribution or on a parameter.

    Attributes:
        look_ahead: the command at t is the trajectory one control period later.
        allow_nonzero_velocity_at_end: accept a last point with a velocity.
        interpolate_from_desired_state: start a new trajectory at the last command, not at the
            measured state ("open_loop_control" on Humble).
        dates_last_command: date that last command at the cycle that issued it; otherwise it is
            dated now, which repeats it once for each message.

    """

    look_ahead: bool
    allow_nonzero_velocity_at_end: bool
    dates_last_command: bool
    interpolate_from_desired_state: bool = False


#: The default parameters of ros2_controllers 4.42 (Jazzy) and 2.54 (Humble).
RULES: dict[Distro, ControllerRules] = {
    "jazzy": ControllerRules(
        look_ahead=True, allow_nonzero_velocity_at_end=False, dates_last_command=True
    ),
    "humble": ControllerRules(
        look_ahead=False, allow_nonzero_velocity_at_end=True, dates_last_command=False
    ),
}


@dataclass(frozen=True)
class ControllerReport:
    """State of joint_trajectory_controller in one cycle, as on its topic controller_state.

    Attributes:
        stamp_ns: time of the cycle.
        reference: joint -> desired position of the cycle, rad or m.
        feedback: joint -> measured position of the cycle.
        output: joint -> command of the cycle.
        speed_scaling: factor on the controller's trajectory clock.

    """

    stamp_ns: int
    reference: dict[str, float]
    feedback: dict[str, float]
    output: dict[str, float]
    speed_scaling: float


class TrajectoryController:
    """joint_trajectory_controller: follows the newest message, which replaces the former one.

    Attributes:
        speed_scaling: factor on the clock of the running trajectory, as a robot reports it; a new
            trajectory starts at the present time all the same.

    """

    def __init__(
        self, joints: Sequence[str], rules: ControllerRules = RULES["jazzy"], period: float = 0.004
    ) -> None:
        self.joints = tuple(joints)
        self.rules = rules
        self.speed_scaling = 1.0
        self._active = True
        self._desired: Knot | None = None
        self._measured: Knot | None = None
        self._period_ns = s_to_ns(period)
        self._pending: SampledTrajectory | None = None
        self._running: SampledTrajectory | None = None
        self._traj_time_ns = 0
        self._command: Knot | None = None
        self._command_ns = 0
        # The real controller sorts joints through one buffer that it never clears: a joint that
        # a duplicated name displaces gets whatever was left there.
        self._sorted = np.zeros(len(self.joints))

    def accept(self, message: TrajectoryMessage, now_ns: int) -> None:
        """Accept a message, which is followed from the next update on.

        An inactive controller drops it without a log entry.

        Raises:
            TrajectoryRejected: with the controller's message; nothing changes.

        """
        if not self._active:
            return
        check_trajectory(
            message,
            self.joints,
            now_ns,
            allow_nonzero_velocity_at_end=self.rules.allow_nonzero_velocity_at_end,
        )
        columns = [self.joints.index(name) for name in message.joint_names]
        knots = []
        for point in message.points:
            fields = (point.positions, point.velocities, point.accelerations)
            position, velocity, acceleration = (self._sort(columns, f) for f in fields)
            assert position is not None
            knots.append(Knot(position, velocity, acceleration))
        offsets = [point.time_from_start_ns for point in message.points]
        self._pending = SampledTrajectory(message.stamp_ns, offsets, knots)

    @property
    def busy(self) -> bool:
        """Return whether a trajectory is being followed or pending."""
        if self._pending is not None:
            return True
        return self._running is not None and self._running.ends_after(self._traj_time_ns)

    @property
    def active(self) -> bool:
        """Return whether the controller is active; an inactive one reports nothing."""
        return self._active

    def deactivate(self) -> None:
        """Stop following and reporting; the command interfaces keep their last values."""
        self._active = False
        self._pending = self._running = self._desired = None

    def activate(self, *, hold_measured: bool = False) -> None:
        """Become active again and hold the last command, or the measured position.

        The parameter `set_last_command_interface_value_as_state_on_activation` selects which; its
        default is the last command.
        """
        held = self._command
        self._active = True
        self.hold()
        if held is not None and not hold_measured:
            self._pending = SampledTrajectory(0, [0], [Knot(held.position)])

    def hold(self) -> None:
        """Drop all trajectories; the next update holds the position measured then."""
        self._pending = self._running = self._command = None

    @property
    def report(self) -> ControllerReport | None:
        """Return the report of the last cycle; None while inactive or before the first cycle."""
        if self._desired is None or self._measured is None or self._command is None:
            return None
        reference, feedback, output = (
            dict(zip(self.joints, knot.position.tolist(), strict=True))
            for knot in (self._desired, self._measured, self._command)
        )
        return ControllerReport(self._command_ns, reference, feedback, output, self.speed_scaling)

    def update(
        self, now_ns: int, positions: ArrayLike, velocities: ArrayLike
    ) -> NDArray[np.float64]:
        """Run one control cycle: return the position command [n] for the measured state [n].

        Call it once per period. As in the real controller, `now_ns` is used only in the first
        cycle of a trajectory; later cycles add up periods, multiplied by `speed_scaling`. While
        inactive, the command is the last one, or the measured position without one.
        """
        measured = Knot(
            np.array(positions, dtype=np.float64), np.array(velocities, dtype=np.float64)
        )
        if not self._active:
            return (measured if self._command is None else self._command).position.copy()
        if self._pending is not None:
            self._running, self._pending = self._pending, None
        if self._running is None:
            self._running = SampledTrajectory(now_ns, [0], [Knot(measured.position)])
        if self._running.started:
            self._traj_time_ns += round(self._period_ns * self.speed_scaling)
        else:
            before, before_ns = measured, now_ns
            if self.rules.interpolate_from_desired_state and self._command is not None:
                before = self._command
                before_ns = self._command_ns if self.rules.dates_last_command else now_ns
            self._running.start(now_ns, before, before_ns)
            self._traj_time_ns = now_ns
        ahead_ns = self._period_ns if self.rules.look_ahead else 0
        self._measured = measured
        self._desired = self._running.sample(self._traj_time_ns)
        self._command = self._running.sample(self._traj_time_ns + ahead_ns)
        self._command_ns = now_ns
        return self._command.position.copy()

    def _sort(self, columns: Sequence[int], values: Sequence[float]) -> NDArray[np.float64] | None:
        if len(values) == 0:
            return None
        self._sorted[columns] = values
        return self._sorted.copy()


class ForwardController:
    """forward_command_controller: the newest values are the command, without interpolation.

    Before the first command it holds the position of the first update.
    """

    def __init__(self, joints: Sequence[str]) -> None:
        self.joints = tuple(joints)
        self._command: NDArray[np.float64] | None = None

    def accept(self, values: Sequence[float]) -> None:
        """Accept positions [n], rad or m; ValueError if there are not n values."""
        if len(values) != len(self.joints):
            raise ValueError(
                f"command size ({len(values)}) does not match number of interfaces "
                f"({len(self.joints)})"
            )
        self._command = np.array(values, dtype=np.float64)

    def hold(self) -> None:
        """Drop the command; the next update holds the position measured then."""
        self._command = None

    def update(self, positions: ArrayLike) -> NDArray[np.float64]:
        """Run one control cycle: return the command [n] for measured positions [n]."""
        if self._command is None:
            self._command = np.array(positions, dtype=np.float64)
        return self._command.copy()


@dataclass(frozen=True)
class GoalOutcome:
    """End of the motion to a goal.

    Attributes:
        reached_goal: the joint is within the tolerance of the goal.
        stalled: the joint stopped before; by default the real controllers abort the goal then.

    """

    reached_goal: bool
    stalled: bool


class GripperController:
    """gripper_action_controller and parallel_gripper_action_controller: one goal at a time.

    The goal is the position command until the next goal, also after the joint has stalled on an
    object. Before the first goal it holds the position of the first update.

    Attributes:
        outcome: of the newest goal; None while the joint moves to it, and before the first one.

    """

    #: Defaults of the real controllers: rad or m, per s, and s.
    GOAL_TOLERANCE = 0.01
    STALL_VELOCITY = 0.001
    STALL_TIMEOUT = 1.0

    def __init__(self, joints: Sequence[str]) -> None:
        self.joints = tuple(joints)
        self.outcome: GoalOutcome | None = None
        self._command: NDArray[np.float64] | None = None
        self._has_goal = False
        self._moved_ns: int | None = None

    def accept(self, position: float) -> None:
        """Move to a position, rad or m; it replaces the goal in execution."""
        self._command = np.array([position], dtype=np.float64)
        self._has_goal, self.outcome, self._moved_ns = True, None, None

    def hold(self) -> None:
        """Drop the goal, as a cancellation does; the next update holds the position measured."""
        if self._has_goal and self.outcome is None:
            self.outcome = GoalOutcome(reached_goal=False, stalled=False)
        self._command, self._has_goal = None, False

    def update(
        self, now_ns: int, positions: ArrayLike, velocities: ArrayLike
    ) -> NDArray[np.float64]:
        """Run one control cycle: return the command [1] for the measured state [1]."""
        measured = np.array(positions, dtype=np.float64)
        if self._command is None:
            self._command = measured
        if self._has_goal and self.outcome is None:
            error = abs(float(self._command[0] - measured[0]))
            moves = abs(float(np.asarray(velocities)[0])) > self.STALL_VELOCITY
            if moves or self._moved_ns is None:
                self._moved_ns = now_ns
            if error < self.GOAL_TOLERANCE:
                self.outcome = GoalOutcome(reached_goal=True, stalled=False)
            elif now_ns - self._moved_ns > s_to_ns(self.STALL_TIMEOUT):
                self.outcome = GoalOutcome(reached_goal=False, stalled=True)
        return self._command.copy()


class DigitalController:
    """A joint with two positions, selected by a flag, such as a pneumatic gripper.

    Args:
        joints: its joint.
        off: position while the flag is false, rad or m.
        on: position while the flag is true.

    Attributes:
        value: the flag; None before the first message, while the joint holds its position.

    """

    def __init__(self, joints: Sequence[str], off: float, on: float) -> None:
        self.joints = tuple(joints)
        self.value: bool | None = None
        self._ends = (off, on)
        self._held: NDArray[np.float64] | None = None

    def accept(self, value: bool) -> None:
        """Set the flag."""
        self.value = value

    def hold(self) -> None:
        """Keep the flag; without one, the next update holds the position measured then."""
        self._held = None

    def update(self, positions: ArrayLike) -> NDArray[np.float64]:
        """Run one control cycle: return the command [1] for the measured position [1]."""
        if self.value is not None:
            return np.array([self._ends[self.value]])
        if self._held is None:
            self._held = np.array(positions, dtype=np.float64)
        return self._held.copy()
