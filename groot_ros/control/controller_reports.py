# SPDX-License-Identifier: Apache-2.0
"""Activity, speed scaling and splice timing of the controllers, from their state reports."""

from collections.abc import Mapping, Sequence

import numpy as np

from groot_ros.control.controller_activity import ControllerActivity
from groot_ros.control.curve import Curve
from groot_ros.control.joint_state import ActuatedJoints
from groot_ros.control.motion_clock import MotionClock, SpeedScaling
from groot_ros.control.splice_timing import SpliceTiming, time_offset
from groot_ros.robot import Controller

#: Reports of a controller that follow the last compared one sooner are not compared, ns.
_COMPARE_NS = 12_000_000
#: rad or m between two references that are the same.
_UNCHANGED = 1e-4
#: Difference between two speed scalings that are the same.
_SAME_SCALING = 0.01
#: Change of the speed scaling that is sent to controllers that do not scale their trajectories.
_RESEND_CHANGE = 0.05


class ControllerReports:
    """Activity, speed scaling, references and splice timing of the controllers.

    Args:
        joints: the actuated joints.
        controllers: of the robot contract.
        clock: converts stamps to motion time; corrected while the motion is scaled.

    Attributes:
        activity: which controllers are inactive.
        scaling: speed scaling of the robot.
        splices: delay of messages.
        references: joint -> last reported reference, rad or m.

    """

    def __init__(
        self, joints: ActuatedJoints, controllers: Sequence[Controller], clock: MotionClock
    ) -> None:
        self._joints = joints
        self._controllers = {c.name: c for c in controllers}
        self._clock = clock
        self.activity = ControllerActivity(controllers)
        self.scaling = SpeedScaling()
        self.splices = SpliceTiming()
        self.references: dict[str, float] = {}
        self._unchanged = False
        self._compared_ns: dict[str, int] = {}
        self._sent_scaling = 1.0

    def record(
        self, controller: str, stamp_ns: int, reference: Mapping[str, float], now_ns: int
    ) -> bool:
        """Record a report that has arrived now; return whether its controller was inactive."""
        self._unchanged = bool(reference) and all(
            abs(self.references.get(joint, np.inf) - position) < _UNCHANGED
            for joint, position in reference.items()
        )
        self.references.update(reference)
        return self.activity.record_report(controller, stamp_ns, now_ns, reference)

    def is_due(self, controller: str, stamp_ns: int, speed_scaling: float | None) -> bool:
        """Return whether to compare this report: that takes long for one at 500 Hz.

        Reports of scaled motion, and those after a gap, are all compared, and none while a
        controller is inactive.
        """
        if self.activity.inactive:
            return False
        known = self.scaling.of_controllers.get(controller, 0.0)
        full_speed = self._clock.scaling == 1.0 and speed_scaling in (None, known)
        since_ns = stamp_ns - self._compared_ns.get(controller, stamp_ns - _COMPARE_NS)
        if full_speed and 0 <= since_ns < _COMPARE_NS:
            return self.activity.has_gap(controller)
        self._compared_ns[controller] = stamp_ns
        return True

    def record_sent(
        self, now_ns: int, before: Curve | None, after: Curve, controllers: Sequence[str]
    ) -> None:
        """Record a message to these controllers, which replaces the motion `before`."""
        self._sent_scaling = self._clock.scaling
        self.splices.record_sent(now_ns, before, after, controllers)

    def needs_resend(self) -> bool:
        """Return whether a controller that does not scale its trajectory needs another one."""
        scaling = self._clock.scaling
        if abs(scaling - self._sent_scaling) < _RESEND_CHANGE:
            return False
        factors = self.scaling.of_controllers.values()
        rates = (self.scaling.factor, self._sent_scaling)
        return any(abs(factor - rate) >= _SAME_SCALING for factor in factors for rate in rates)

    def correct_motion_time(
        self,
        controller: str,
        commanded: Curve,
        reference: Mapping[str, float],
        stamp_ns: int,
        now_ns: int,
    ) -> int:
        """While the motion is scaled, set its time to where the controller is on it.

        Returns:
            By how much the controller was ahead, ns; 0 if that is not known.

        """
        clock = self._clock
        if clock.scaling == 1.0 or controller != self._scaled_controller():
            return 0
        joints = self._controllers[controller].joints
        if not all(joint in reference for joint in joints):
            return 0
        columns = self._joints.columns(self._controllers[controller])
        positions = np.array([reference[joint] for joint in joints])
        offset_ns = time_offset(commanded, columns, positions, clock.at(stamp_ns)) or 0
        clock.shift(now_ns, offset_ns)
        return offset_ns

    def follows_former(
        self, controller: str, reference: Mapping[str, float], stamp_ns: int, lead_time: float
    ) -> bool:
        """Return whether the controller follows the motion before the last message."""
        joints = self._controllers[controller].joints
        return self.splices.follows_former(
            controller,
            {joint: self._joints.names.index(joint) for joint in joints},
            reference,
            stamp_ns,
            self._clock.at(stamp_ns),
            lead_time,
            unchanged=self._unchanged,
        )

    def was_interrupted(
        self, controller: str, commanded: Curve, reference: Mapping[str, float], stamp_ns: int
    ) -> bool:
        """Return whether the controller was inactive for a moment, and stands since then."""

        def moved_since(since_ns: int) -> dict[str, float]:
            times = [self._clock.at(since_ns), self._clock.at(stamp_ns)]
            before, now = commanded.sample(times)[0]
            return dict(zip(self._joints.names, (now - before).tolist(), strict=True))

        return self.activity.was_interrupted(controller, stamp_ns, reference, moved_since)

    def _scaled_controller(self) -> str:
        """Return the largest controller that scales its trajectories itself, or ""."""
        own, scaling = self.scaling.of_controllers, self.scaling.factor
        scaled = [
            c
            for c in self._controllers.values()
            if abs(own.get(c.name, scaling) - scaling) < _SAME_SCALING
        ]
        return max(scaled, key=lambda c: len(c.joints)).name if scaled else ""
