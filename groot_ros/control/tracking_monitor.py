# SPDX-License-Identifier: Apache-2.0
"""Detection of robots and controllers that do not follow the commanded motion.

A joint_trajectory_controller does not report on its command topic that it rejected a message, so
measured joints and the references that controllers report are compared with the motion sent.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from groot_ros.control.curve import Array, Curve
from groot_ros.control.deviation import (
    OF_JOINT,
    OF_REFERENCE,
    Cause,
    Deviation,
    ObservedMotion,
    explain,
)
from groot_ros.control.joint_state import ActuatedJoints, MeasuredState
from groot_ros.control.limits import Mask
from groot_ros.control.motion_clock import MotionClock
from groot_ros.control.settings import ExecutorConfig
from groot_ros.core import ns_to_s, s_to_ns
from groot_ros.robot import Controller

#: s without an error after which an error has ended. A command that oscillates across a joint that
#: does not move matches it twice a period, for a shorter time.
_RECOVERY_TIME = 0.2
#: s by which a controller may be late without a fault: a message that arrives twice the default
#: lead time after it was sent.
_MAX_LATENESS = 0.04
#: s by which a reference can be late: messages do not take longer.
_LONGEST_DELAY = 0.2
#: s between two explanations of the same error, which may become clearer as it lasts.
_EXPLAIN_PERIOD = 0.1


class FaultDebounce:
    """Reports a fault when an error has lasted for some time, short recoveries included."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget all observations."""
        self._error_since_ns: int | None = None
        self._ok_since_ns: int | None = None
        self._last_ns = 0

    @property
    def pending(self) -> bool:
        """Return whether there is an error that has not ended by a recovery."""
        return self._error_since_ns is not None

    def expired(self, error: bool, at_ns: int, timeout: float) -> bool:
        """Add an observation and return whether it is an error that began `timeout` s ago or more.

        An error ends by a recovery: 0.2 s of observations without an error. Observations before a
        backward jump of the clock are forgotten.
        """
        if at_ns < self._last_ns:
            self.reset()
        self._last_ns = at_ns
        if not error:
            self._observe_ok(at_ns)
            return False
        self._ok_since_ns = None
        if self._error_since_ns is None:
            self._error_since_ns = at_ns
        return ns_to_s(at_ns - self._error_since_ns) >= timeout

    def _observe_ok(self, at_ns: int) -> None:
        if self._error_since_ns is None:
            return
        if self._ok_since_ns is None:
            self._ok_since_ns = at_ns
        if ns_to_s(at_ns - self._ok_since_ns) >= _RECOVERY_TIME:
            self._error_since_ns = self._ok_since_ns = None


#: Describes an error; called only when the description is needed.
Describe = Callable[[], str]


class _TrackingCheck:
    """Debounced tracking error with a description of the worst deviation."""

    def __init__(self) -> None:
        self._debounce = FaultDebounce()
        self._description = ""
        self._described_ns = 0

    @property
    def tracking_fault(self) -> str:
        """Return a description of an error that has not ended by a recovery, or ""."""
        return self._description if self._debounce.pending else ""

    def reset(self) -> None:
        """Forget all observations: the motion that they belong to has ended."""
        self._debounce.reset()

    def _expired(self, describe: Describe | None, at_ns: int, timeout: float) -> bool:
        """Add an observation; `describe` is of the error, None if there is none."""
        was_pending = self._debounce.pending
        expired = self._debounce.expired(describe is not None, at_ns, timeout)
        old = ns_to_s(at_ns - self._described_ns) >= _EXPLAIN_PERIOD
        if describe is not None and (expired or not was_pending or old):
            self._description, self._described_ns = describe(), at_ns
        return expired


class JointTracking(_TrackingCheck):
    """Compares commanded with measured positions of the joints in `checked`.

    Args:
        joint_names: of the N joints.
        checked: which joints are checked.
        units: of the joints, for descriptions.

    """

    def __init__(self, joint_names: Sequence[str], checked: Mask, units: Sequence[str]) -> None:
        super().__init__()
        self._joint_names = tuple(joint_names)
        self._checked = checked
        self._units = tuple(units)

    def has_failed(
        self,
        commanded: Array,
        measured: Array,
        stamp_ns: int,
        max_error: float,
        timeout: float,
        explain: Callable[[int], Deviation],
    ) -> bool:
        """Return whether a joint has been too far from its command for `timeout` s.

        Causes are a controller that rejects commands or is inactive, a motor without power, an
        obstacle, or a servo that is late.

        Args:
            commanded: command of each joint at the time of its measurement, [N] rad or m.
            measured: measured positions, [N] rad or m.
            stamp_ns: time of the oldest measurement.
            max_error: rad or m.
            timeout: s.
            explain: index of a joint -> why it deviates.

        """
        error = np.where(self._checked, np.abs(commanded - measured), 0.0)
        worst = int(np.argmax(error))

        def describe() -> str:
            name, why = self._joint_names[worst], explain(worst)
            size = f"{error[worst]:.2f} {self._units[worst]}"
            limit = f"max_tracking_error {max_error:g}"
            if why.cause == Cause.LATE:
                return (
                    f"{name} follows {why.delay:.2f} s late ({size}, {limit}): lower limits_scale "
                    "or raise max_tracking_error"
                )
            if why.cause == Cause.SLOWED:
                return (
                    f"{name} follows at {why.rate:.0%} of its speed, {why.delay:.2f} s late "
                    f"({size}, {limit}): set the speed slider of the robot to 100 %, or name its "
                    "speed_scaling topic in the robot contract"
                )
            apart = f"commanded {commanded[worst]:.3f}, measured {measured[worst]:.3f}"
            if why.cause == Cause.STANDING:
                return (
                    f"{name} does not follow: {apart}, standing still ({size}, {limit}): is it "
                    "blocked? Is its controller active and its motor powered?"
                )
            return (
                f"{name} does not follow: {apart} ({size}, {limit}): is it blocked, or does "
                "another node command it?"
            )

        failed = bool(error[worst] > max_error)
        return self._expired(describe if failed else None, stamp_ns, timeout)


class ControllerTracking(_TrackingCheck):
    """Compares the reference that one controller reports with the motion sent to it."""

    def __init__(self, controller: Controller) -> None:
        super().__init__()
        self._controller = controller

    def has_failed(
        self,
        sent: Mapping[str, float],
        reference: Mapping[str, float],
        stamp_ns: int,
        tolerance: Mapping[str, float],
        timeout: float,
        explain: Callable[[str], Deviation],
    ) -> bool:
        """Return whether the controller has followed something else for `timeout` s.

        Joints without a reference are ignored: a controller reports none after a NaN.

        Args:
            sent: joint -> position of the motion sent at stamp_ns, rad or m.
            reference: joint -> position that the controller reports for stamp_ns.
            stamp_ns: time of the report.
            tolerance: joint -> allowed difference, rad or m.
            timeout: s.
            explain: joint -> why its reference deviates.

        """
        excess = {
            joint: abs(sent[joint] - reference[joint]) - tolerance[joint]
            for joint in self._controller.joints
            if joint in reference and joint in sent
        }
        worst = max(excess, key=excess.__getitem__, default="")

        def describe() -> str:
            why = explain(worst)
            cause = "another node commands it, or it rejected the trajectory, see its log"
            if why.cause == Cause.LATE:
                cause = (
                    f"it is {why.delay:.2f} s late, raise splice_lead_time, and keep other load "
                    "off the cores of controller_manager"
                )
            elif why.cause == Cause.SLOWED:
                cause = (
                    f"it executes its trajectory at {why.rate:.0%} of its speed, name the robot's "
                    "speed_scaling topic in the robot contract"
                )
            elif why.cause == Cause.STANDING:
                cause = "it stands still, it rejected the trajectory, see its log"
            return (
                f"controller '{self._controller.name}' does not follow: {worst} was sent "
                f"{sent[worst]:.3f}, its reference is {reference[worst]:.3f} (allowed "
                f"{tolerance[worst]:.3f} from max_reference_error): {cause}"
            )

        failed = bool(worst) and excess[worst] > 0.0
        return self._expired(describe if failed else None, stamp_ns, timeout)


class TrackingMonitor:
    """Compares measured joints and controller references with the motion that was sent.

    Args:
        joints: the actuated joints.
        controllers: of the robot contract.
        units: of the joints, for descriptions.
        clock: converts stamps to motion time.

    """

    def __init__(
        self,
        joints: ActuatedJoints,
        controllers: Sequence[Controller],
        units: Sequence[str],
        clock: MotionClock,
    ) -> None:
        self._joints = joints
        self._clock = clock
        self._joint_tracking = JointTracking(joints.names, joints.blended, units)
        self._controllers = {c.name: ControllerTracking(c) for c in controllers}
        self._measured = ObservedMotion()
        self._references = {c.name: ObservedMotion() for c in controllers}

    @property
    def tracking_fault(self) -> str:
        """Return a description of a present tracking error, or an empty string.

        While there is one, no motion may be sent: a controller that missed messages would jump to
        the next one that it receives.
        """
        faults = (controller.tracking_fault for controller in self._controllers.values())
        return self._joint_tracking.tracking_fault or next(filter(None, faults), "")

    def reset(self) -> None:
        """Forget all observations: no motion must be followed any more."""
        self._joint_tracking.reset()
        self._measured.clear()
        for controller in self._controllers.values():
            controller.reset()
        for references in self._references.values():
            references.clear()

    def joints_failed(
        self, commanded: Curve, measured: MeasuredState, settings: ExecutorConfig
    ) -> bool:
        """Return whether a joint does not follow; every joint must have been measured."""
        assert measured.oldest_ns is not None
        times = self._clock.at_all(measured.stamps_ns)
        self._measured.add(times, measured.position)
        return self._joint_tracking.has_failed(
            commanded.positions_at(times),
            measured.position,
            measured.oldest_ns,
            settings.max_tracking_error,
            settings.tracking_error_timeout,
            lambda joint: explain(
                commanded.columns([joint]), *self._measured.of_joint(joint), 0, OF_JOINT
            ),
        )

    def controller_failed(
        self,
        controller: Controller,
        commanded: Curve,
        reference: Mapping[str, float],
        stamp_ns: int,
        settings: ExecutorConfig,
    ) -> bool:
        """Return whether a controller does not follow, by its reference at stamp_ns."""
        names = [joint for joint in controller.joints if joint in reference]
        columns = [self._joints.names.index(joint) for joint in names]
        motion_ns = self._clock.at(stamp_ns)
        around = [motion_ns, motion_ns - s_to_ns(_MAX_LATENESS)]
        positions, velocities = commanded.sample(around)
        # A message that is late by less than this is no fault, at full speed either.
        lateness = _MAX_LATENESS * np.abs(velocities).max(axis=0)
        allowed = (settings.max_reference_error + lateness).tolist()
        sent = positions[0].tolist()
        observed = self._references[controller.name]
        if len(names) == len(controller.joints):
            times = np.full(len(names), motion_ns, dtype=np.int64)
            observed.add(times, np.array([reference[joint] for joint in names]))

        def explain_reference(joint: str) -> Deviation:
            whole = commanded.columns(self._joints.columns(controller))
            worst = controller.joints.index(joint)
            why = explain(whole, *observed.of_all(), worst, OF_REFERENCE)
            late = why.cause == Cause.LATE and why.delay > _LONGEST_DELAY
            return Deviation(Cause.ELSEWHERE) if late else why

        return self._controllers[controller.name].has_failed(
            {name: sent[column] for name, column in zip(names, columns, strict=True)},
            reference,
            stamp_ns,
            {name: allowed[column] for name, column in zip(names, columns, strict=True)},
            settings.tracking_error_timeout,
            explain_reference,
        )
