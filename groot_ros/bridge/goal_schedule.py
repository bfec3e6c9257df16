# SPDX-License-Identifier: Apache-2.0
"""Selection of gripper goals: no goal for a small change, and at most five per second."""

from groot_ros.core import s_to_ns

#: Least time between two goals, s: at most 5 per second. A gripper stops at every goal.
GOAL_PERIOD = 0.2
#: Time after which a rejected goal is sent again, s.
RETRY_PERIOD = 1.0
#: Default deadband as a share of the stroke.
DEADBAND_SHARE = 0.02


class GoalSchedule:
    """Decides which targets are sent as goals.

    A target is sent when it differs from the last goal by more than the deadband; the first one is
    always sent. A target that is due too early is due again later, so the last target is within
    the deadband of the last goal once targets stand still.

    Args:
        deadband: rad or m.

    """

    def __init__(self, deadband: float) -> None:
        self._deadband = deadband
        self._sent: float | None = None
        self._last_ns: int | None = None
        self._pause_ns = s_to_ns(GOAL_PERIOD)

    def is_due(self, target: float, now_ns: int) -> bool:
        """Return whether the target must be sent now, rad or m."""
        if self._sent is not None and abs(target - self._sent) <= self._deadband:
            return False
        # After a jump of the clock into the past, the time of the last goal is unknown.
        return self._last_ns is None or not 0 <= now_ns - self._last_ns < self._pause_ns

    def record_sent(self, target: float, now_ns: int) -> None:
        """Record that a goal was sent."""
        self._sent, self._last_ns, self._pause_ns = target, now_ns, s_to_ns(GOAL_PERIOD)

    def record_undelivered(self, now_ns: int, pause: float = GOAL_PERIOD) -> None:
        """Record that the target did not reach the gripper; it is due again after `pause` s."""
        self._sent, self._last_ns, self._pause_ns = None, now_ns, s_to_ns(pause)

    def forget(self) -> None:
        """Let the next target be sent however little it differs: the gripper may be elsewhere."""
        self._sent = None
