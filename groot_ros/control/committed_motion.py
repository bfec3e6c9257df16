# SPDX-License-Identifier: Apache-2.0
"""The motion that the robot is committed to: planned, sent in part, always ending at rest."""

from collections.abc import Mapping, Sequence

import numpy as np

from groot_ros.control.blending import blend_to
from groot_ros.control.braking import with_braking_tail
from groot_ros.control.chunk_validation import Rejection
from groot_ros.control.curve import Array, Curve
from groot_ros.control.jerk_limits import (
    FailSafes,
    FailSafeTrajectory,
    RemainingTrajectory,
    jerk_limited_tracking,
)
from groot_ros.control.limits import Limits, Mask, limited_tracking
from groot_ros.control.settings import ExecutorConfig
from groot_ros.core import NS_PER_S, s_to_ns


class CommittedMotion:
    """Plan and active trajectory, which are the same until the active one begins to brake.

    Attributes:
        plan: past motion and all of the running chunk, after limits; None before the first chunk.
        active: what the controllers follow, or will follow once it is sent: the plan for the next
            `commit_horizon`, then a braking tail. None before the first chunk.
        changed: whether the motion has changed since it was last sent.
        splice_discontinuity: committed motion minus chunk at the last splice, unblended, [N].
        limited_chunks: number of chunks that limits changed, per joint, int64 [N].
        limit_deviation: largest distance between the last chunk, blended, and the motion that
            keeps the limits, without jerk limits, [N].

    """

    def __init__(self, limits: Limits, blended: Mask) -> None:
        self._limits = limits
        self._jerk_bounds = limits.jerk_bounds()
        self._blended = blended
        self.changed = False
        self.splice_discontinuity: Array = np.zeros(len(blended))
        self.limited_chunks = np.zeros(len(blended), dtype=np.int64)
        self.limit_deviation: Array = np.zeros(len(blended))
        self.clear()

    def clear(self) -> None:
        """Drop all motion; the next motion starts from the measured state."""
        self.plan: Curve | None = None
        self.active: Curve | None = None
        self._reference: Curve | None = None
        self._fail_safes: FailSafes = {}
        self._tail_ns = 0

    @property
    def end_ns(self) -> int | None:
        """Time at which the last tail begins unless a new chunk arrives."""
        if self.plan is None:
            return None
        return self._tail_ns if self._reference is None else self.plan.end_ns

    @property
    def rest_ns(self) -> int | None:
        """Time at which the active trajectory is at rest."""
        return None if self.active is None else int(self.active.times[-2])

    def is_on_tail(self, now_ns: int) -> bool:
        """Return whether the active trajectory is braking or at rest."""
        return now_ns >= self._tail_ns

    def is_at_rest(self, now_ns: int) -> bool:
        """Return whether the active trajectory is at rest, or there is none."""
        return self.rest_ns is None or now_ns >= self.rest_ns

    def begin(
        self, p: Array, v: Array, now_ns: int, resend_window: float, braking_time: float
    ) -> None:
        """Start from a measured state and come to rest in `braking_time` s, as limits allow."""
        start_ns = now_ns - s_to_ns(resend_window)
        line = Curve(
            np.array([start_ns, now_ns], dtype=np.int64),
            np.stack([p - v * resend_window, p]),
            np.stack([v, v]),
        )
        self.plan = self.active = with_braking_tail(line, self._limits, braking_time)
        self._reference, self._tail_ns = None, now_ns

    def splice(self, reference: Curve, now_ns: int, settings: ExecutorConfig) -> Rejection | None:
        """Continue the active trajectory with the reference, C1 and within limits.

        The splice lies at the first knot of the reference after the splice lead time; earlier
        knots are late and dropped.

        Returns:
            A rejection if that is not possible; nothing has changed then.

        """
        assert self.active is not None
        at = int(np.searchsorted(reference.times, now_ns + s_to_ns(settings.splice_lead_time)))
        if at + 1 >= len(reference.times):
            return Rejection(
                "no_steps_left",
                "all steps of the chunk are due before the splice: reduce the latency of the "
                "policy or lengthen its horizon",
            )
        splice_ns = int(reference.times[at])
        p, v = self.active.at(splice_ns)
        if not self._limits.viable(p, v).all():
            return Rejection("cannot_stop", "the robot is still stopping from outside its limits")
        limits = self._limits
        if settings.limits_scale < 1.0:
            limits = limits.scaled(settings.limits_scale, p, v)
        blended_p, blended_v = blend_to(
            self.active,
            reference,
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
            np.diff(reference.times[at:]) / NS_PER_S,
            blended_p,
            blended_v,
        )
        past = self.active.until(splice_ns).since(now_ns - s_to_ns(settings.history))
        future = Curve(reference.times[at + 1 :], positions, velocities)
        self._fail_safes = {}
        if self._jerk_bounds:
            start = Curve(np.array([splice_ns], dtype=np.int64), p[None], v[None])
            whole = start.followed_by(future.times, future.positions, future.velocities)
            whole, self._fail_safes = jerk_limited_tracking(whole, self.active, self._jerk_bounds)
            future = Curve(whole.times[1:], whole.positions[1:], whole.velocities[1:])
        self.plan = past.followed_by(future.times, future.positions, future.velocities)
        self._reference = reference
        self.splice_discontinuity = p - reference.positions[at]
        self.limited_chunks += limited
        self.limit_deviation = np.abs(positions - blended_p).max(axis=0)
        self._commit(now_ns, settings)
        return None

    def refresh(self, now_ns: int, settings: ExecutorConfig) -> None:
        """Commit more of the plan shortly before the active trajectory begins to brake.

        If it is too late for that (the process was stalled), splice the reference into the tail.
        """
        if self._reference is None or self.plan is None or self._tail_ns == self.plan.end_ns:
            return
        left_ns = self._tail_ns - now_ns
        splice_lead_ns = s_to_ns(settings.splice_lead_time)
        if left_ns > max(s_to_ns(settings.commit_horizon) // 3, 2 * splice_lead_ns):
            return
        if left_ns > splice_lead_ns:
            self._commit(now_ns, settings)
        elif self.splice(self._reference, now_ns, settings) is not None:
            self.end_with_tail()
        self.changed = True

    def shorten(self, until_ns: int) -> None:
        """Plan no motion after the first knot from until_ns on; the active trajectory stays."""
        if self._reference is None or self.plan is None:
            return
        end_ns = self._knot_from(self.plan, max(until_ns, self._tail_ns))
        self.plan, self._reference = self.plan.until(end_ns), self._reference.until(end_ns)

    def end_with_tail(self) -> None:
        """Drop the plan beyond the active trajectory: its tail is the end of the motion."""
        self.plan, self._reference = self.active, None

    def brake(self, now_ns: int, splice_lead_time: float, braking_time: float) -> None:
        """Brake after the splice lead time, to rest in `braking_time` s as limits allow."""
        assert self.active is not None
        from_ns = now_ns + s_to_ns(splice_lead_time)
        fail_safes: Mapping[int, FailSafeTrajectory] | None
        if from_ns < self._tail_ns:
            # Brake at a knot: only there the state is known to be viable to rounding precision.
            from_ns = self._knot_from(self.active, from_ns)
            fail_safes = self._fail_safes.get(from_ns)
        else:
            # Another stop must not prolong a stop in progress.
            fail_safes = {j: RemainingTrajectory(self.active, j) for j in self._jerk_bounds}
            left = (int(self.active.times[-2]) - from_ns) / NS_PER_S
            braking_time = min(braking_time, max(0.0, left))
        self.active = with_braking_tail(
            self.active.until(from_ns), self._limits, braking_time, fail_safes
        )
        self._tail_ns = from_ns
        self.end_with_tail()

    def stand(self, columns: Sequence[int], positions: Array) -> None:
        """Let some joints stand at these positions, while the others follow the active trajectory.

        The motion ends with the active trajectory's tail.
        """
        assert self.active is not None
        where, speeds = self.active.positions.copy(), self.active.velocities.copy()
        where[:, columns], speeds[:, columns] = positions, 0.0
        self.active = Curve(self.active.times, where, speeds)
        standing = {
            j: RemainingTrajectory(self.active, j) for j in columns if j in self._jerk_bounds
        }
        self._fail_safes = {t: {**others, **standing} for t, others in self._fail_safes.items()}
        self.end_with_tail()

    def rollback(self, published: Curve | None) -> None:
        """Replace motion that was not sent by the trajectory that the controllers follow."""
        if published is None:
            self.clear()
        else:
            self.active = published
            self.end_with_tail()

    def _commit(self, now_ns: int, settings: ExecutorConfig) -> None:
        assert self.plan is not None
        self._tail_ns = self._knot_from(self.plan, now_ns + s_to_ns(settings.commit_horizon))
        self.active = with_braking_tail(
            self.plan.until(self._tail_ns),
            self._limits,
            settings.braking_time,
            self._fail_safes.get(self._tail_ns),
        )

    def _knot_from(self, curve: Curve, t_ns: int) -> int:
        """Return the first knot from t_ns on, else the last, with a known fail-safe trajectory."""
        times = curve.times
        if self._fail_safes:
            times = np.intersect1d(times, np.array(list(self._fail_safes), dtype=np.int64))
        return int(times[min(int(np.searchsorted(times, t_ns)), len(times) - 1)])
