"""A chunk becomes planned motion, or is rejected for where the robot is."""

from groot_ros.control.actuated_joints import ActuatedJoints
from groot_ros.control.agreement import check_start_state
from groot_ros.control.braking import can_stop
from groot_ros.control.curve import Curve
from groot_ros.control.goal import knot_spacing, reference_curve
from groot_ros.control.joint_state import MeasuredState
from groot_ros.control.motion import CommittedMotion
from groot_ros.control.rejection import Rejection
from groot_ros.control.settings import ExecutorConfig
from groot_ros.core import ActionChunk, s_to_ns


class Planner:
    """Leads the committed motion from where the robot is to what a chunk asks for.

    Attributes:
        row_dt: s between the knots of the last chunk planned.

    """

    def __init__(
        self, joints: ActuatedJoints, motion: CommittedMotion, measured: MeasuredState
    ) -> None:
        self._joints = joints
        self._motion = motion
        self._measured = measured
        self._spacing = self.row_dt = knot_spacing(joints.limits)

    def begin(self, now_ns: int, settings: ExecutorConfig) -> Rejection | None:
        """Take the measured state as the motion in force.

        A state from which the limits do not allow to stop is rejected. Then the motion is the
        hardest stop, or none where the robot merely stands outside its limits.
        """
        limits = self._joints.limits
        p, v = self._measured.settled(limits, settings.position_slack, settings.rest_velocity)
        viable = can_stop(limits, p, v)
        self._motion.begin(
            p, v, now_ns, settings.resend_window, settings.braking_time if viable.all() else 0.0
        )
        if viable.all():
            return None
        if not v.any():
            self._motion.clear()
        names = self._joints.among(~viable)
        return Rejection(
            "not_viable", f"{names} cannot stop within the position and velocity limits"
        )

    def plan(self, chunk: ActionChunk, now_ns: int, settings: ExecutorConfig) -> Rejection | None:
        """Splice the chunk into the motion in force, or say why not and change nothing."""
        goal, knot_dt = reference_curve(
            chunk, self._joints.names, self._joints.methods, settings.max_chunk_age, self._spacing
        )
        rejection = self._disagreement(goal, now_ns, settings)
        rejection = rejection or self._motion.splice(goal, now_ns, settings)
        if rejection is None:
            self.row_dt = knot_dt
        return rejection

    def _disagreement(self, goal: Curve, now_ns: int, settings: ExecutorConfig) -> Rejection | None:
        if settings.shadow:
            return None
        assert self._motion.sent is not None
        splice_ns = max(now_ns + s_to_ns(settings.splice_lead_time), goal.start_ns)
        return check_start_state(
            self._joints.names,
            self._joints.blended,
            self._measured.position,
            goal.at(splice_ns)[0],
            self._motion.sent.at(now_ns)[0],
            settings.max_start_jump,
        )
