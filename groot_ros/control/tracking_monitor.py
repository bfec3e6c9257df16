# SPDX-License-Identifier: Apache-2.0
"""Detection of robots and controllers that do not follow the commanded motion.

A joint_trajectory_controller does not report on its command topic that it rejected a message, so
measured joints and the references that controllers report are compared with the motion sent.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from groot_ros.control.curve import Array, Curve
from groot_ros.control.joint_state import ActuatedJoints, MeasuredState
from groot_ros.control.limits import Mask
from groot_ros.control.settings import ExecutorConfig
from groot_ros.core import ns_to_s
from groot_ros.robot import Controller

#: s without an error after which an error has ended. A command that oscillates across a joint that
#: does not move matches it twice a period, for a shorter time.
_RECOVERY_TIME = 0.2
#: rad or m between the motion sent and a controller's reference: more than one control period of
#: fast motion plus the transport of a message.
_MAX_REFERENCE_ERROR = 0.05
#: rad or m from its last command beyond which a robot at rest has been moved externally.
_MOVED_DISTANCE = 0.1


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


class _TrackingCheck:
    """Debounced tracking error with a description of the worst deviation."""

    def __init__(self) -> None:
        self._debounce = FaultDebounce()
        self._description = ""

    @property
    def tracking_fault(self) -> str:
        """Return a description of an error that has not ended by a recovery, or ""."""
        return self._description if self._debounce.pending else ""

    def reset(self) -> None:
        """Forget all observations: the motion that they belong to has ended."""
        self._debounce.reset()

    def _expired(self, description: str, at_ns: int, timeout: float) -> bool:
        """Add an observation; `description` is of the error, empty if there is none."""
        was_pending = self._debounce.pending
        expired = self._debounce.expired(bool(description), at_ns, timeout)
        if description and (expired or not was_pending):
            self._description = description
        return expired


class JointTracking(_TrackingCheck):
    """Compares commanded with measured positions of the joints in `checked`."""

    def __init__(self, joint_names: Sequence[str], checked: Mask) -> None:
        super().__init__()
        self._joint_names = tuple(joint_names)
        self._checked = checked

    def has_failed(
        self, commanded: Array, measured: Array, stamp_ns: int, max_error: float, timeout: float
    ) -> bool:
        """Return whether a joint has been too far from its command for `timeout` s.

        Causes are a controller that rejects commands or is inactive, a motor without power, or
        an obstacle.

        Args:
            commanded: command of each joint at the time of its measurement, [N] rad or m.
            measured: measured positions, [N] rad or m.
            stamp_ns: time of the oldest measurement.
            max_error: rad or m.
            timeout: s.

        """
        error = np.where(self._checked, np.abs(commanded - measured), 0.0)
        worst = int(np.argmax(error))
        description = ""
        if error[worst] > max_error:
            description = (
                f"{self._joint_names[worst]} does not follow: commanded {commanded[worst]:.3f}, "
                f"measured {measured[worst]:.3f}; is its controller active?"
            )
        return self._expired(description, stamp_ns, timeout)


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
        timeout: float,
    ) -> bool:
        """Return whether the controller has followed something else for `timeout` s.

        Joints without a reference are ignored: a controller reports none after a NaN.

        Args:
            sent: joint -> position of the motion sent at stamp_ns, rad or m.
            reference: joint -> position that the controller reports for stamp_ns.
            stamp_ns: time of the report.
            timeout: s.

        """
        errors = {
            joint: abs(sent[joint] - reference[joint])
            for joint in self._controller.joints
            if joint in reference and joint in sent
        }
        worst = max(errors, key=errors.__getitem__, default="")
        description = ""
        if worst and errors[worst] > _MAX_REFERENCE_ERROR:
            description = (
                f"controller '{self._controller.name}' does not follow: {worst} was sent "
                f"{sent[worst]:.3f}, its reference is {reference[worst]:.3f}; it rejected the "
                "trajectory (see its log) or another node commands it"
            )
        return self._expired(description, stamp_ns, timeout)


class TrackingMonitor:
    """Compares measured joints and controller references with the motion that was sent."""

    def __init__(self, joints: ActuatedJoints, controllers: Sequence[Controller]) -> None:
        self._joints = joints
        self._joint_tracking = JointTracking(joints.names, joints.blended)
        self._controllers = {c.name: ControllerTracking(c) for c in controllers}

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
        for controller in self._controllers.values():
            controller.reset()

    def joints_failed(
        self, commanded: Curve, measured: MeasuredState, settings: ExecutorConfig
    ) -> bool:
        """Return whether a joint does not follow; every joint must have been measured."""
        assert measured.oldest_ns is not None
        positions, _ = commanded.sample(measured.stamps_ns)
        return self._joint_tracking.has_failed(
            np.diagonal(positions),
            measured.position,
            measured.oldest_ns,
            settings.max_tracking_error,
            settings.tracking_error_timeout,
        )

    def controller_failed(
        self,
        controller: str,
        commanded: Curve,
        reference: Mapping[str, float],
        stamp_ns: int,
        settings: ExecutorConfig,
    ) -> bool:
        """Return whether a controller does not follow, by its reference at stamp_ns."""
        sent = commanded.at(stamp_ns)[0].tolist()
        return self._controllers[controller].has_failed(
            dict(zip(self._joints.names, sent, strict=True)),
            reference,
            stamp_ns,
            settings.tracking_error_timeout,
        )

    def was_moved(self, commanded: Curve, measured: Array, now_ns: int) -> bool:
        """Return whether a robot at rest was moved externally and must start from where it is.

        A controller that holds against a load stays closer to its command than this.
        """
        error = np.abs(commanded.at(now_ns)[0] - measured)
        return bool((error[self._joints.blended] > _MOVED_DISTANCE).any())
