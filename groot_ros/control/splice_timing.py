# SPDX-License-Identifier: Apache-2.0
"""Measures when messages take effect at the controllers, and adapts the lead time to it.

A message that arrives after its splice makes the controller jump from the old motion to the new
one. Nothing reports that, so the references of the controllers are compared with the motion before
and after the splice.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from groot_ros.control.curve import Array, Curve
from groot_ros.core import NS_PER_S, ns_to_s, s_to_ns

#: rad or m between two motions from which on a reference shows which of them is followed.
_DISTINCT = 0.001
#: s after a message in which a controller may still follow the motion before it.
MAX_DELAY = 0.15
#: s after the message with which a motion begins in which the controller may not follow it yet.
_START_TIME = 0.04
#: Longest lead time that is chosen automatically, s.
_MAX_LEAD = 0.1
#: The lead time after a late splice: the measured delay times this, plus s.
_LEAD_FACTOR, _LEAD_MARGIN = 1.2, 0.005
#: Share of the additional lead time that is given up with each splice that is on time.
_RELAX = 0.002


@dataclass
class _Message:
    sent_ns: int
    #: None if the motion began with this message.
    before: Curve | None
    after: Curve
    #: Controllers that have not shown yet which motion they follow, and whether they were late.
    open: dict[str, bool]


class SpliceTiming:
    """Measures the delay of messages, and adapts the splice lead time to it.

    Attributes:
        late: number of splices that took effect late, per message and controller.
        delay: s from sending the last late message to its effect; 0 before the first.

    """

    def __init__(self) -> None:
        self.late = 0
        self.delay = 0.0
        self._extra = 0.0
        self._last: _Message | None = None

    def reset(self) -> None:
        """Forget the last message: the motion has been dropped."""
        self._last = None

    def lead_time(self, configured: float, commit_horizon: float) -> float:
        """Return the present splice lead time, s: `configured`, or more after late splices."""
        longest = max(configured, min(_MAX_LEAD, commit_horizon / 3.0))
        return min(configured + self._extra, longest)

    def record_sent(
        self, now_ns: int, before: Curve | None, after: Curve, controllers: Sequence[str]
    ) -> None:
        """Record a message to these controllers, which replaces the motion `before`."""
        if before is after:
            return
        self._last = _Message(now_ns, before, after, dict.fromkeys(controllers, False))

    def follows_former(
        self,
        controller: str,
        joints: Mapping[str, int],
        reference: Mapping[str, float],
        stamp_ns: int,
        motion_ns: int,
        lead_time: float,
        *,
        unchanged: bool = False,
    ) -> bool:
        """Return whether a controller follows the motion before the last message.

        Args:
            controller: name of the controller.
            joints: its joints -> index in the curves.
            reference: joint -> position that it reports, rad or m.
            stamp_ns: time of the report.
            motion_ns: motion time of the report.
            lead_time: the configured splice lead time, s.
            unchanged: whether the controller reports the same reference as before.

        """
        last = self._last
        if last is None or controller not in last.open:
            return False
        elapsed = ns_to_s(stamp_ns - last.sent_ns)
        known = [joint for joint in joints if joint in reference]
        if last.before is None:
            return unchanged and elapsed <= _START_TIME
        if elapsed <= 0.0:
            return False
        if elapsed > MAX_DELAY or not known:
            del last.open[controller]
            return False
        before, after = last.before.at(motion_ns)[0], last.after.at(motion_ns)[0]
        apart = [abs(before[joints[j]] - after[joints[j]]) for j in known]
        if max(apart) < _DISTINCT:
            return False
        joint = known[apart.index(max(apart))]
        column, value = joints[joint], reference[joint]
        near = max(apart) / 4.0
        if abs(value - before[column]) <= near:
            last.open[controller] = True
            return True
        if abs(value - after[column]) > near:
            # It follows neither, so it is not late.
            return False
        if last.open.pop(controller):
            self.late += 1
            self.delay = elapsed
            needed = _LEAD_FACTOR * elapsed + _LEAD_MARGIN
            self._extra = max(self._extra, needed - lead_time)
        else:
            self._extra *= 1.0 - _RELAX
            if self._extra < 1e-3:
                self._extra = 0.0
        return False


def time_offset(
    curve: Curve, columns: Sequence[int], positions: Array, motion_ns: int
) -> int | None:
    """Return by how many ns a reference is further along the curve than at `motion_ns`.

    None if the joints hardly move there, or the reference does not lie on the curve within 0.1 s.
    """
    offset = 0.0
    for _ in range(3):
        p, v = curve.at(motion_ns + s_to_ns(offset))
        speeds = v[list(columns)]
        power = float(speeds @ speeds)
        if power < 0.05**2:
            return None
        error = positions - p[list(columns)]
        offset += float(speeds @ error) / power
        if abs(offset) > 0.1:
            return None
    p, _ = curve.at(motion_ns + s_to_ns(offset))
    if abs(positions - p[list(columns)]).max() > 0.005:
        return None
    return round(offset * NS_PER_S)
