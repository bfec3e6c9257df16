# SPDX-License-Identifier: Apache-2.0
"""The executor's status: latched stops, counters, clock jumps, and the state that it publishes."""

from collections import Counter

from groot_ros.control.chunk_validation import Rejection
from groot_ros.control.committed_motion import CommittedMotion
from groot_ros.control.motion_clock import MotionClock
from groot_ros.control.splice_timing import SpliceTiming
from groot_ros.core import (
    ActionChunk,
    ControlSource,
    ExecutorState,
    ExecutorStatus,
    ReasonCode,
    ns_to_s,
)

#: s between two calls from which on this process was stalled, or its clock was corrected.
_STALL = 0.2
#: s after a stall within which messages that arrived during the stall are still being read.
_CATCH_UP = 0.1


class StatusTracker:
    """Hold, emergency stop and other stops, and the status that follows from them.

    Attributes:
        hold: whether the operator has paused the robot; the first chunk after the release of the
            hold moves it again.
        estop: whether an emergency stop is latched; cleared by resume().
        locked: whether a fault is latched (too many underruns, or the robot does not follow);
            cleared by resume().
        tracking_fault: description of a present tracking error, or an empty string. While there
            is one, the controllers are left to the tail that they have.
        last_rejection: code of the last rejected chunk; empty after an accepted one.
        underruns: number of times that the tail began because no chunk arrived, since the start.

    """

    def __init__(self) -> None:
        self.hold = False
        self.estop = False
        self.locked = False
        self.tracking_fault = self.last_rejection = ""
        self.underruns = 0
        self._underruns_since_resume = 0
        self._lock_reason = ""
        self._lock_code = ReasonCode.TRACKING_ERROR
        self._halt_reason = ""
        self._halt_code = ReasonCode.STOPPED

    def record_underrun(self, max_underruns: int) -> None:
        """Count a tail that began because no chunk arrived, and lock after `max_underruns`.

        0 allows any number.
        """
        self.underruns += 1
        self._underruns_since_resume += 1
        if not self.locked and 0 < max_underruns <= self._underruns_since_resume:
            self.lock(
                f"underrun {self._underruns_since_resume} times", ReasonCode.TOO_MANY_UNDERRUNS
            )
        self._halt_reason = ""

    def lock(self, reason: str, code: ReasonCode) -> None:
        """Latch a fault: motion needs a resume()."""
        self.locked, self._lock_reason, self._lock_code = True, reason, code

    def halt(self, reason: str, code: ReasonCode = ReasonCode.STOPPED) -> None:
        """Record why motion was stopped; the next accepted chunk clears it."""
        self._halt_reason, self._halt_code = reason, code

    def clear_halt(self, reason: str) -> None:
        """Clear the reason of halt(), unless it has been replaced by another one."""
        if self._halt_reason == reason:
            self._halt_reason = ""

    def record_rejected(self, rejection: Rejection) -> None:
        """Record that a chunk is not executed; those of a second policy do not matter."""
        if rejection.reason != "second_policy":
            self.last_rejection = rejection.reason

    def record_accepted(self) -> None:
        """Record that a chunk is executed."""
        self._halt_reason = self.last_rejection = ""

    def resume(self) -> None:
        """Clear the latched stops, on the operator's request."""
        if self.latched:
            self.halt("resumed: waiting for a new chunk", ReasonCode.RESUMED)
        self.estop = self.locked = False
        self._underruns_since_resume = 0

    @property
    def latched(self) -> bool:
        """Return whether the robot is stopped until resume()."""
        return self.estop or self.locked

    def rejection(self) -> Rejection | None:
        """Return why no chunk may start motion now, or None."""
        if self.estop:
            return Rejection("estopped", "emergency stop: call resume first")
        if self.hold:
            return Rejection("on_hold", "the operator holds the robot")
        if self.locked:
            return Rejection("needs_resume", f"{self._lock_reason}: call resume first")
        return None

    def status(
        self,
        now_ns: int,
        motion_end_ns: int | None,
        rest_ns: int | None,
        *,
        shadow: bool = False,
    ) -> tuple[ExecutorStatus, ReasonCode, str]:
        """Return the status, and its reason as code and text.

        Args:
            now_ns: present time.
            motion_end_ns: time at which the tail begins; None before the first chunk.
            rest_ns: time at which the tail is at rest; None before the first chunk.
            shadow: whether nothing is commanded; the reason of a motion says so.

        """
        suffix = " (shadow)" if shadow else ""
        rejection = self.rejection()
        if self.estop and rejection:
            return ExecutorStatus.ESTOPPED, ReasonCode.EMERGENCY_STOP, rejection.detail
        if rejection:
            code = ReasonCode.OPERATOR_HOLD if self.hold else self._lock_code
            return ExecutorStatus.HOLDING, code, rejection.detail
        if self._halt_reason:
            return ExecutorStatus.HOLDING, self._halt_code, self._halt_reason
        if motion_end_ns is None or rest_ns is None:
            return ExecutorStatus.IDLE, ReasonCode.WAITING, "waiting for the first chunk"
        if self.tracking_fault:
            status = ExecutorStatus.HOLDING if now_ns >= rest_ns else ExecutorStatus.BRAKING
            return status, ReasonCode.TRACKING_ERROR, self.tracking_fault
        if now_ns < motion_end_ns:
            return ExecutorStatus.RUNNING, ReasonCode.EXECUTING, f"executing a chunk{suffix}"
        code, why = ReasonCode.NO_CHUNK, "no chunk came in time"
        if self.last_rejection:
            code = ReasonCode.CHUNKS_REJECTED
            why = f"no chunk was accepted (last rejected: {self.last_rejection})"
        if now_ns < rest_ns:
            return ExecutorStatus.BRAKING, code, f"{why}: braking{suffix}"
        return ExecutorStatus.HOLDING, code, f"{why}: at rest"


class ChunkCounters:
    """Counts of chunks and rejections since the start.

    Attributes:
        received: all chunks, including malformed ones.
        accepted: chunks that became motion.

    """

    def __init__(self) -> None:
        self.received = self.accepted = 0
        self._rejections: Counter[str] = Counter()

    def record_rejection(self, rejection: Rejection) -> Rejection:
        """Count a rejection and return it."""
        self._rejections[rejection.reason] += 1
        return rejection

    @property
    def rejections(self) -> dict[str, int]:
        """Number of rejections per code, in alphabetical order."""
        return dict(sorted(self._rejections.items()))


class ClockMonitor:
    """Detects jumps of the clock: a simulation was reset, or this process was stalled."""

    def __init__(self) -> None:
        self._last_ns: int | None = None
        self._stalled_ns: int | None = None
        self._slow = False

    def check_jump(self, now_ns: int, max_back: float, max_ahead: float) -> str:
        """Return a description of the clock's jump since the last call, or an empty string.

        A step backwards by more than `max_back` s or ahead by more than `max_ahead` s is a jump.
        """
        step = 0.0 if self._last_ns is None else ns_to_s(now_ns - self._last_ns)
        self._last_ns = now_ns
        if step > _STALL and not self._slow:
            self._stalled_ns = now_ns
        self._slow = step > _STALL
        if step < -max_back:
            return "the clock went back"
        if step > max_ahead:
            return f"the clock went {step:.1f} s ahead, or this process was stalled"
        return ""

    def is_catching_up(self, now_ns: int) -> bool:
        """Return whether a stall was so recent that newer messages may not have been read yet."""
        return self._stalled_ns is not None and ns_to_s(now_ns - self._stalled_ns) < _CATCH_UP


def report(
    now_ns: int,
    joint_names: tuple[str, ...],
    chunk: ActionChunk | None,
    motion: CommittedMotion,
    tracker: StatusTracker,
    counters: ChunkCounters,
    *,
    shadow: bool,
    clock: MotionClock,
    splices: SpliceTiming,
    splice_lead_time: float,
    instruction: tuple[int, str] = (0, ""),
) -> ExecutorState:
    """Return the state to publish.

    `chunk` is the last accepted one, `instruction` number and text of the one that is followed.
    """
    motion_ns = clock.at(now_ns)
    status, code, reason = tracker.status(motion_ns, motion.end_ns, motion.rest_ns, shadow=shadow)
    held = status in (ExecutorStatus.HOLDING, ExecutorStatus.ESTOPPED)
    running = status == ExecutorStatus.RUNNING
    end_ns = motion.end_ns
    return ExecutorState(
        stamp_ns=now_ns,
        status=status,
        reason_code=code,
        reason=reason,
        joint_names=joint_names,
        splice_discontinuity=tuple(motion.splice_discontinuity.tolist()),
        limited_chunks=tuple(motion.limited_chunks.tolist()),
        shadow=shadow,
        hold=tracker.hold,
        estop=tracker.estop,
        control_source=ControlSource.HOLD if held else ControlSource.POLICY,
        session=chunk.session if chunk else "",
        episode=chunk.episode if chunk else 0,
        chunk_id=chunk.id if chunk else 0,
        step=ns_to_s(now_ns - chunk.start_ns) / chunk.dt if chunk and running else 0.0,
        chunk_age=ns_to_s(now_ns - chunk.stamp_ns) if chunk else 0.0,
        time_until_braking=ns_to_s(end_ns - motion_ns) / (clock.scaling or 1.0)
        if running and end_ns is not None
        else 0.0,
        received=counters.received,
        accepted=counters.accepted,
        underruns=tracker.underruns,
        rejections=counters.rejections,
        latched=tracker.latched,
        speed_scaling=clock.scaling,
        splice_lead_time=splice_lead_time,
        splice_delay=splices.delay,
        late_splices=splices.late,
        limit_deviation=tuple(motion.limit_deviation.tolist()),
        instruction_id=instruction[0],
        instruction=instruction[1],
    )
