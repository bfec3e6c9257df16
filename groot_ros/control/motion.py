"""The motion that the robot is committed to: planned, published in part, always ending at rest."""

from collections.abc import Mapping

import numpy as np

from groot_ros.control.blending import blend_to
from groot_ros.control.braking import with_braking_tail
from groot_ros.control.curve import Array, Curve
from groot_ros.control.jerk_limits import (
    FailSafes,
    FailSafeTrajectory,
    RemainingTrajectory,
    jerk_limited_tracking,
)
from groot_ros.control.limits import Limits, Mask, limited_tracking
from groot_ros.control.rejection import Rejection
from groot_ros.control.settings import ExecutorSettings
from groot_ros.core import NS_PER_S, s_to_ns


class CommittedMotion:
    """Two curves that are the same until the published one begins to brake.

    Attributes:
        plan: the past, and all of the running chunk after limits; None before the first chunk.
        sent: what the controllers have or are about to get: the plan for the next
            `commit_horizon`, then a tail to rest. This is the motion in force.
        splice_discontinuity: old minus new position at the last splice, before blending, [N].
        limited_chunks: chunks that limits changed, per joint, int64 [N].

    """

    def __init__(self, limits: Limits, blended: Mask) -> None:
        self._limits = limits
        self._jerk_bounds = limits.jerk_bounds()
        self._blended = blended
        self.splice_discontinuity: Array = np.zeros(len(blended))
        self.limited_chunks = np.zeros(len(blended), dtype=np.int64)
        self.clear()

    def clear(self) -> None:
        """Forget everything; the robot is wherever it is measured to be."""
        self.plan: Curve | None = None
        self.sent: Curve | None = None
        self._goal: Curve | None = None
        self._fail_safes: FailSafes = {}
        self._tail_ns = 0

    @property
    def end_ns(self) -> int | None:
        """When motion ends for want of more and the last tail begins."""
        if self.plan is None:
            return None
        return self._tail_ns if self._goal is None else self.plan.end_ns

    @property
    def rest_ns(self) -> int | None:
        """When the published tail is at rest."""
        return None if self.sent is None else int(self.sent.times[-2])

    def is_on_tail(self, now_ns: int) -> bool:
        """Whether what was sent has begun to brake by now."""
        return now_ns >= self._tail_ns

    def is_at_rest(self, now_ns: int) -> bool:
        """Whether nothing moves by now."""
        return self.rest_ns is None or now_ns >= self.rest_ns

    def begin(self, p: Array, v: Array, now_ns: int, resend_window: float, braking: float) -> None:
        """Start from a measured state, coming to rest within `braking` s or as limits demand."""
        start_ns = now_ns - s_to_ns(resend_window)
        line = Curve(
            np.array([start_ns, now_ns], dtype=np.int64),
            np.stack([p - v * resend_window, p]),
            np.stack([v, v]),
        )
        self.plan = self.sent = with_braking_tail(line, self._limits, braking)
        self._goal, self._tail_ns = None, now_ns

    def splice(self, goal: Curve, now_ns: int, settings: ExecutorSettings) -> Rejection | None:
        """Leave the motion in force for the goal, C1 and within limits.

        The splice falls on the goal's first knot after `lead`; knots before it are late and
        dropped. Returns why it cannot be done, and changes nothing then.
        """
        assert self.sent is not None
        at = int(np.searchsorted(goal.times, now_ns + s_to_ns(settings.lead)))
        if at + 1 >= len(goal.times):
            return Rejection("too_late", "no step of it is left to execute")
        splice_ns = int(goal.times[at])
        p, v = self.sent.at(splice_ns)
        if not self._limits.viable(p, v).all():
            return Rejection("not_viable", "the robot is still stopping from outside its limits")
        limits = self._limits
        if settings.limits_scale < 1.0:
            limits = limits.scaled(settings.limits_scale, p, v)
        wanted_p, wanted_v = blend_to(
            self.sent,
            goal,
            at,
            self._blended,
            settings.blend_window,
            settings.blend_acceleration,
            limits.jerk,
        )
        positions, velocities, limited = limited_tracking(
            limits,
            p,
            v,
            np.diff(goal.times[at:]) / NS_PER_S,
            wanted_p,
            wanted_v,
        )
        past = self.sent.until(splice_ns).since(now_ns - s_to_ns(settings.history))
        coming = Curve(goal.times[at + 1 :], positions, velocities)
        self._fail_safes = {}
        if self._jerk_bounds:
            start = Curve(np.array([splice_ns], dtype=np.int64), p[None], v[None])
            whole = start.followed_by(coming.times, coming.positions, coming.velocities)
            whole, self._fail_safes = jerk_limited_tracking(whole, self.sent, self._jerk_bounds)
            coming = Curve(whole.times[1:], whole.positions[1:], whole.velocities[1:])
        self.plan = past.followed_by(coming.times, coming.positions, coming.velocities)
        self._goal = goal
        self.splice_discontinuity = p - goal.positions[at]
        self.limited_chunks += limited
        self._commit(now_ns, settings)
        return None

    def refresh(self, now_ns: int, settings: ExecutorSettings) -> bool:
        """Commit more of the plan before what was sent begins to brake; whether it did.

        Called too late (the process was stalled), it leaves the tail for the goal again.
        """
        if self._goal is None or self.plan is None or self._tail_ns == self.plan.end_ns:
            return False
        left_ns = self._tail_ns - now_ns
        lead_ns = s_to_ns(settings.lead)
        if left_ns > max(s_to_ns(settings.commit_horizon) // 3, 2 * lead_ns):
            return False
        if left_ns > lead_ns:
            self._commit(now_ns, settings)
        elif self.splice(self._goal, now_ns, settings) is not None:
            self.coast()
        return True

    def shorten(self, until_ns: int) -> None:
        """Plan nothing beyond the first knot at or after until_ns; what is sent stays."""
        if self._goal is None or self.plan is None:
            return
        end_ns = self._knot_from(self.plan, max(until_ns, self._tail_ns))
        self.plan, self._goal = self.plan.until(end_ns), self._goal.until(end_ns)

    def coast(self) -> None:
        """No more motion is to come: the published tail is what will be."""
        self.plan, self._goal = self.sent, None

    def brake(self, now_ns: int, lead: float, braking: float) -> None:
        """Come to rest from the motion in force, in `braking` s or as limits demand."""
        assert self.sent is not None
        from_ns = now_ns + s_to_ns(lead)
        fail_safes: Mapping[int, FailSafeTrajectory] | None
        if from_ns < self._tail_ns:
            # On a knot: only there is the braking distance known to fit to the last micron.
            from_ns = self._knot_from(self.sent, from_ns)
            fail_safes = self._fail_safes.get(from_ns)
        else:
            # A stop in progress is never drawn out by another one.
            fail_safes = {
                joint: RemainingTrajectory(self.sent, joint) for joint in self._jerk_bounds
            }
            braking = min(braking, max(0.0, (int(self.sent.times[-2]) - from_ns) / NS_PER_S))
        self.sent = with_braking_tail(self.sent.until(from_ns), self._limits, braking, fail_safes)
        self._tail_ns = from_ns
        self.coast()

    def return_to(self, curve: Curve) -> None:
        """Make a curve published earlier the motion in force again."""
        self.sent = curve
        self.coast()

    def _commit(self, now_ns: int, settings: ExecutorSettings) -> None:
        assert self.plan is not None
        self._tail_ns = self._knot_from(self.plan, now_ns + s_to_ns(settings.commit_horizon))
        self.sent = with_braking_tail(
            self.plan.until(self._tail_ns),
            self._limits,
            settings.braking_time,
            self._fail_safes.get(self._tail_ns),
        )

    def _knot_from(self, curve: Curve, t_ns: int) -> int:
        """The first knot from t_ns on, or the last, at which the joints are known to stop."""
        times = curve.times
        if self._fail_safes:
            times = np.intersect1d(times, np.array(list(self._fail_safes), dtype=np.int64))
        return int(times[min(int(np.searchsorted(times, t_ns)), len(times) - 1)])
