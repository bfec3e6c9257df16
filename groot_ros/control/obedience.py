"""Whether robot and controllers do what they are commanded, or somebody else moved them."""

from collections.abc import Mapping, Sequence

import numpy as np

from groot_ros.control.actuated_joints import ActuatedJoints
from groot_ros.control.controller_watch import ControllerWatch
from groot_ros.control.curve import Array, Curve
from groot_ros.control.following import Following
from groot_ros.control.joint_state import MeasuredState
from groot_ros.control.settings import ExecutorSettings
from groot_ros.robot import Controller

#: rad or m from its last command beyond which a robot at rest was moved by somebody else.
_MOVED = 0.1


class Obedience:
    """Holds against the motion in force what is measured and what controllers report."""

    def __init__(self, joints: ActuatedJoints, controllers: Sequence[Controller]) -> None:
        self._joints = joints
        self._following = Following(joints.names, joints.blended)
        self._controllers = {c.name: ControllerWatch(c) for c in controllers}

    @property
    def astray(self) -> str:
        """Why nothing may be sent that moves the robot on, or an empty string.

        Whoever has been deaf jumps, when it hears again, to what it hears then.
        """
        controllers = (watch.astray for watch in self._controllers.values())
        return self._following.astray or next(filter(None, controllers), "")

    def forget(self) -> None:
        """Nothing is in force that anybody must follow."""
        self._following.forget()
        for watch in self._controllers.values():
            watch.forget()

    def robot_at_fault(
        self, commanded: Curve, measured: MeasuredState, settings: ExecutorSettings
    ) -> bool:
        """Whether the robot cannot be following, every joint of it known."""
        positions, _ = commanded.sample(measured.seen_ns)
        return self._following.judge(
            np.diagonal(positions),
            measured.position,
            int(measured.seen_ns.min()),
            settings.max_following_error,
            settings.tracking_error_timeout,
        )

    def controller_at_fault(
        self,
        controller: str,
        commanded: Curve,
        reference: Mapping[str, float],
        stamp_ns: int,
        settings: ExecutorSettings,
    ) -> bool:
        """Whether a controller that follows `reference` at stamp_ns cannot be following."""
        intended = commanded.at(stamp_ns)[0].tolist()
        return self._controllers[controller].judge(
            dict(zip(self._joints.names, intended, strict=True)),
            reference,
            stamp_ns,
            settings.tracking_error_timeout,
        )

    def was_moved(self, commanded: Curve, measured: Array, now_ns: int) -> bool:
        """Whether a robot long at rest is elsewhere: what was commanded is no place to leave.

        A controller that holds against a load stays within a little of its command.
        """
        gap = np.abs(commanded.at(now_ns)[0] - measured)
        return bool((gap[self._joints.blended] > _MOVED).any())
