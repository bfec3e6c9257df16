# SPDX-License-Identifier: Apache-2.0
"""Supervision of the robot: what its controllers and joints report against the motion sent."""

from collections.abc import Mapping
from enum import Enum, auto

from groot_ros.control.chunk_validation import Rejection
from groot_ros.control.controller_reports import ControllerReports
from groot_ros.control.curve import Curve
from groot_ros.control.joint_state import ActuatedJoints, MeasuredState
from groot_ros.control.motion_clock import MotionClock
from groot_ros.control.settings import ExecutorConfig
from groot_ros.control.tracking_monitor import TrackingMonitor
from groot_ros.robot import RobotContract


class Finding(Enum):
    """Results of comparing the report of a controller with the motion sent."""

    #: It follows, or not for long enough yet, or this report does not tell.
    NOTHING = auto()
    #: It was inactive for a moment, and stands since then.
    INTERRUPTED = auto()
    #: It has not followed the motion sent for `tracking_error_timeout`.
    FAILED = auto()


class Supervision:
    """Detects controllers that are inactive, and joints and controllers that do not follow.

    Attributes:
        reports: of the controllers.

    Args:
        contract: of the robot.
        joints: the actuated joints.
        measured: state of the robot.
        clock: motion time; corrected by the reports while the motion is scaled.

    """

    def __init__(
        self,
        contract: RobotContract,
        joints: ActuatedJoints,
        measured: MeasuredState,
        clock: MotionClock,
    ) -> None:
        controllers = contract.controllers
        self.reports = ControllerReports(joints, controllers, clock)
        self._controllers = {c.name: c for c in controllers}
        self._measured = measured
        units = [contract.joints[name].unit for name in joints.names]
        self._tracking = TrackingMonitor(joints, controllers, units, clock)
        self._joint_state_arrived = False

    @property
    def tracking_fault(self) -> str:
        """Return a description of a present tracking error, or an empty string."""
        return self._tracking.tracking_fault

    @property
    def inactive(self) -> str:
        """Return a description of the first inactive controller, or an empty string."""
        return self.reports.activity.description

    @property
    def messages_missed(self) -> bool:
        """Return whether the next message may make a controller jump, as it may have missed some.

        So it is during a tracking error, and while a controller is inactive.
        """
        return bool(self.tracking_fault or self.reports.activity.inactive)

    def reset(self) -> None:
        """Forget all observations: no motion must be followed any more."""
        self._tracking.reset()

    def record_joint_state(self) -> None:
        """Record that a joint state has arrived since the last call of has_become_inactive()."""
        self._joint_state_arrived = True

    def has_become_inactive(self, now_ns: int) -> bool:
        """Return whether a controller has become inactive since the last call."""
        if self._joint_state_arrived:
            self._joint_state_arrived = False
            self.reports.activity.record_joint_state(now_ns)
        return self.reports.activity.update(now_ns)

    def joints_failed(self, sent: Curve | None, settings: ExecutorConfig) -> bool:
        """Return whether a joint has not followed for `tracking_error_timeout`.

        The newest measurements are compared with the commands of the time of measurement; None if
        no motion must be followed.
        """
        if sent is None or self.reports.activity.inactive:
            self._tracking.reset()
            return False
        known = self._measured.oldest_ns is not None
        return known and self._tracking.joints_failed(sent, self._measured, settings)

    def check_reference(
        self,
        controller: str,
        sent: Curve,
        reference: Mapping[str, float],
        stamp_ns: int,
        settings: ExecutorConfig,
    ) -> Finding:
        """Compare the reference of a controller, joint -> rad or m, with the motion sent."""
        reports = self.reports
        if reports.follows_former(controller, reference, stamp_ns, settings.splice_lead_time):
            return Finding.NOTHING
        if reports.was_interrupted(controller, sent, reference, stamp_ns):
            return Finding.INTERRUPTED
        failed = self._tracking.controller_failed(
            self._controllers[controller], sent, reference, stamp_ns, settings
        )
        return Finding.FAILED if failed else Finding.NOTHING

    def rejection(self, *, paused: bool) -> Rejection | None:
        """Return why the controllers cannot execute a chunk now, or None."""
        if self.reports.activity.inactive:
            return Rejection("controller_inactive", self.inactive)
        if paused:
            return Rejection("paused", "the speed scaling of the robot is 0")
        return None
