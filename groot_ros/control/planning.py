"""A chunk becomes planned motion, or is refused for where the robot is."""

from groot_ros.control.agreement import disagreement
from groot_ros.control.braking import can_stop
from groot_ros.control.curve import Curve
from groot_ros.control.driven import DrivenJoints
from groot_ros.control.goal import goal_curve, knot_spacing
from groot_ros.control.measured import MeasuredState
from groot_ros.control.motion import CommittedMotion
from groot_ros.control.refusal import Refusal
from groot_ros.control.settings import ExecutorSettings
from groot_ros.types import ActionChunk, s_to_ns


class Planner:
    """Leads the committed motion from where the robot is to what a chunk asks for.

    Attributes:
        row_dt: s between the knots of the last chunk planned.

    """

    def __init__(
        self, joints: DrivenJoints, motion: CommittedMotion, measured: MeasuredState
    ) -> None:
        self._joints = joints
        self._motion = motion
        self._measured = measured
        self._spacing = self.row_dt = knot_spacing(joints.limits)

    def begin(self, now_ns: int, settings: ExecutorSettings) -> Refusal | None:
        """Take the measured state as the motion in force.

        A state from which the limits do not allow to stop is refused. Then the motion is the
        hardest stop, or none where the robot merely stands outside its limits.
        """
        limits = self._joints.limits
        p, v = self._measured.settled(limits, settings.position_slack, settings.rest_velocity)
        viable = can_stop(limits, p, v)
        self._motion.begin(
            p, v, now_ns, settings.lookback, settings.braking_time if viable.all() else 0.0
        )
        if viable.all():
            return None
        if not v.any():
            self._motion.clear()
        names = self._joints.among(~viable)
        return Refusal("not_viable", f"{names} cannot stop within the position and velocity limits")

    def plan(self, chunk: ActionChunk, now_ns: int, settings: ExecutorSettings) -> Refusal | None:
        """Splice the chunk into the motion in force, or say why not and change nothing."""
        goal, knot_dt = goal_curve(
            chunk, self._joints.names, self._joints.methods, settings.max_chunk_age, self._spacing
        )
        refusal = self._disagreement(goal, now_ns, settings)
        refusal = refusal or self._motion.splice(goal, now_ns, settings)
        if refusal is None:
            self.row_dt = knot_dt
        return refusal

    def _disagreement(self, goal: Curve, now_ns: int, settings: ExecutorSettings) -> Refusal | None:
        if settings.shadow:
            return None
        assert self._motion.sent is not None
        splice_ns = max(now_ns + s_to_ns(settings.lead), goal.start_ns)
        return disagreement(
            self._joints.names,
            self._joints.blended,
            self._measured.position,
            goal.at(splice_ns)[0],
            self._motion.sent.at(now_ns)[0],
            settings.max_start_jump,
        )
