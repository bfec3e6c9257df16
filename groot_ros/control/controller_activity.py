# SPDX-License-Identifier: Apache-2.0
"""Detection of controllers that are not active: their state reports stop, joint states do not.

A joint_trajectory_controller publishes controller_state in each of its cycles while it is active.
An inactive one drops all messages, and holds the measured position when it becomes active again.
"""

from collections.abc import Callable, Mapping, Sequence

from groot_ros.core import ns_to_s, s_to_ns
from groot_ros.robot import Controller

#: s without a report after which a controller is inactive, at least.
_MIN_SILENCE = 0.1
#: The same in periods of its reports.
_SILENT_PERIODS = 5.0
#: Weight of a new interval in the measured period.
_PERIOD_WEIGHT = 0.1
#: Longest time that one call of update() adds to the silence, s: a longer one is a stall of this
#: process, during which reports may have arrived that are not read yet.
_MAX_STEP = 0.03
#: Time between two reports, in periods, from which on the controller may have been inactive.
_GAP_PERIODS = 1.6
#: s after such a gap within which a controller that stands shows that it was inactive.
_STANDING_TIME = 0.1
#: rad or m that its reference may move while it stands, and that the motion sent must have moved.
_STANDING, _MOVED = 2e-4, 2e-3
#: Largest age of the newest joint state that counts as still arriving, as a share of the silence.
_ARRIVING = 0.5


class _Reports:
    """Reports of one controller."""

    def __init__(self) -> None:
        self.stamp_ns: int | None = None
        self.period: float | None = None
        self.silence = 0.0
        self.arrived_ns = 0
        self.active = True
        #: Stamp and reference of the first report after a gap.
        self.gap: tuple[int, dict[str, float]] | None = None

    @property
    def longest_silence(self) -> float:
        period = 0.0 if self.period is None else self.period
        return max(_MIN_SILENCE, _SILENT_PERIODS * period)

    def add(self, stamp_ns: int) -> float:
        """Add a report and return the time since the last one in periods, 1 for the first."""
        periods = 1.0
        if self.stamp_ns is not None and stamp_ns > self.stamp_ns:
            interval = ns_to_s(stamp_ns - self.stamp_ns)
            if self.period is None:
                self.period = interval
            periods = interval / self.period
            if interval <= self.longest_silence:
                self.period += _PERIOD_WEIGHT * (interval - self.period)
        self.stamp_ns, self.silence = stamp_ns, 0.0
        return periods


class ControllerActivity:
    """Detects inactive controllers by their state reports.

    A controller that never reported counts as active.
    """

    def __init__(self, controllers: Sequence[Controller]) -> None:
        self._names = [c.name for c in controllers]
        self.reset()

    def reset(self) -> None:
        """Forget all reports, as after a jump of the clock."""
        self._reports = {name: _Reports() for name in self._names}
        self._last_ns: int | None = None
        self._joint_state_ns: int | None = None

    @property
    def inactive(self) -> tuple[str, ...]:
        """Return the names of the inactive controllers."""
        return tuple(name for name, reports in self._reports.items() if not reports.active)

    @property
    def description(self) -> str:
        """Describe the first inactive controller; empty if there is none."""
        for name in self.inactive:
            reports = self._reports[name]
            return (
                f"controller '{name}' is not active: no controller_state for "
                f"{reports.silence:.1f} s (allowed {reports.longest_silence:.2f} s) while joint "
                "states arrive: activate it, motion then restarts from the measured state"
            )
        return ""

    def record_joint_state(self, now_ns: int) -> None:
        """Record that a joint state has arrived."""
        self._joint_state_ns = now_ns

    def record_report(
        self, controller: str, stamp_ns: int, now_ns: int, reference: Mapping[str, float]
    ) -> bool:
        """Record a report that has arrived now; return whether the controller was inactive."""
        reports = self._reports[controller]
        periods, reports.arrived_ns = reports.add(stamp_ns), now_ns
        was_active, reports.active = reports.active, True
        if not was_active:
            reports.gap = None
        elif periods >= _GAP_PERIODS and reference:
            reports.gap = stamp_ns, dict(reference)
        return not was_active

    def has_gap(self, controller: str) -> bool:
        """Return whether was_interrupted() has yet to tell what a gap in the reports meant."""
        return self._reports[controller].gap is not None

    def was_interrupted(
        self,
        controller: str,
        stamp_ns: int,
        reference: Mapping[str, float],
        moved_since: Callable[[int], Mapping[str, float]],
    ) -> bool:
        """Return whether a controller was inactive for a time too short for `update` to see it.

        It was if its reference has stood still since a gap in its reports, while the motion sent
        has moved on.

        Args:
            controller: name of the controller.
            stamp_ns: time of the report.
            reference: joint -> position that it reports, rad or m.
            moved_since: time -> by how much each joint's motion sent has moved since, rad or m.

        """
        reports = self._reports[controller]
        if reports.gap is None or stamp_ns == reports.gap[0]:
            return False
        began_ns, held = reports.gap
        common = reference.keys() & held.keys()
        stands = all(abs(reference[joint] - held[joint]) <= _STANDING for joint in common)
        if not common or not stands or ns_to_s(stamp_ns - began_ns) > _STANDING_TIME:
            reports.gap = None
            return False
        moved = moved_since(began_ns)
        if max(abs(moved[joint]) for joint in common) < _MOVED:
            return False
        reports.gap = None
        return True

    def update(self, now_ns: int) -> bool:
        """Advance the time; return whether a controller has become inactive in this call."""
        last_ns = now_ns if self._last_ns is None else self._last_ns
        self._last_ns = now_ns
        changed = False
        for reports in self._reports.values():
            # Without two reports the period is not known.
            if reports.period is None:
                continue
            step = ns_to_s(now_ns - max(last_ns, reports.arrived_ns))
            reports.silence += min(max(step, 0.0), _MAX_STEP)
            if reports.active and self._silent(reports, now_ns):
                reports.active, changed = False, True
        return changed

    def _silent(self, reports: _Reports, now_ns: int) -> bool:
        if self._joint_state_ns is None or reports.silence <= reports.longest_silence:
            return False
        arriving_ns = s_to_ns(_ARRIVING * reports.longest_silence)
        return now_ns - self._joint_state_ns < arriving_ns
