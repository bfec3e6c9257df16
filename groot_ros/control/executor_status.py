"""The executor's status: latched stops, counters, clock jumps, and the state that it publishes."""

from collections import Counter

from groot_ros.control.motion import CommittedMotion
from groot_ros.control.rejection import Rejection
from groot_ros.core import ActionChunk, ExecutorState, ExecutorStatus, ns_to_s

#: s between two calls from which on the process stood still, or its clock was set a little.
_STALL = 0.2
#: s within which what has come meanwhile is heard.
_CATCHING_UP = 0.1


class Watchdog:
    """Hold, emergency stop, starvation: the reasons not to move.

    Attributes:
        hold: the operator's pause; motion resumes with the first chunk after its release.
        estop: latched until resume().
        locked: underrun too often, or the robot does not follow; latched until resume().
        astray: why motion is not continued, while robot or controllers are not where they were
            sent; the tail that they have is all that they get.
        rejected: reason of the last rejected chunk; empty after an accepted one.
        underruns: times the tail began for want of a chunk, since the start.

    """

    def __init__(self) -> None:
        self.hold = False
        self.estop = False
        self.locked = False
        self.astray = self.rejected = ""
        self.underruns = 0
        self._since_resume = 0
        self._locked_because = ""
        self._standing_because = ""

    def underrun(self, max_underruns: int) -> None:
        """The tail began for want of a chunk; 0 allows any number."""
        self.underruns += 1
        self._since_resume += 1
        if not self.locked and 0 < max_underruns <= self._since_resume:
            self.lock(f"underrun {self._since_resume} times")
        self._standing_because = ""

    def lock(self, reason: str) -> None:
        """Motion ended for a reason that somebody must look at."""
        self.locked, self._locked_because = True, reason

    def halt(self, reason: str) -> None:
        """Motion was stopped on purpose; the next accepted chunk ends this."""
        self._standing_because = reason

    def over(self, reason: str) -> None:
        """What halt() was called for is done, unless something else came since."""
        if self._standing_because == reason:
            self._standing_because = ""

    def accepted(self) -> None:
        """A chunk is being executed."""
        self._standing_because = self.rejected = ""

    def resume(self) -> None:
        """The operator's word that motion may go on."""
        if self.latched:
            self._standing_because = "resumed: waiting for a new chunk"
        self.estop = self.locked = False
        self._since_resume = 0

    @property
    def latched(self) -> bool:
        """Whether only resume() ends the stop."""
        return self.estop or self.locked

    def rejection(self) -> Rejection | None:
        """Why no chunk may start motion now, or None."""
        if self.estop:
            return Rejection("estopped", "emergency stop: call resume first")
        if self.hold:
            return Rejection("on_hold", "the operator holds the robot")
        if self.locked:
            return Rejection("needs_resume", f"{self._locked_because}: call resume first")
        return None

    def status(
        self, now_ns: int, motion_end_ns: int | None, rest_ns: int | None
    ) -> tuple[ExecutorStatus, str]:
        """Status and its reason.

        The braking tail begins at motion_end_ns and is at rest at rest_ns; both are None before
        the first chunk.
        """
        rejection = self.rejection()
        if self.estop and rejection:
            return ExecutorStatus.ESTOPPED, rejection.detail
        if rejection:
            return ExecutorStatus.HOLDING, rejection.detail
        if self._standing_because:
            return ExecutorStatus.HOLDING, self._standing_because
        if motion_end_ns is None or rest_ns is None:
            return ExecutorStatus.IDLE, "waiting for the first chunk"
        if self.astray:
            at_rest = now_ns >= rest_ns
            return ExecutorStatus.HOLDING if at_rest else ExecutorStatus.BRAKING, self.astray
        if now_ns < motion_end_ns:
            return ExecutorStatus.RUNNING, "executing a chunk"
        why = "no chunk came in time"
        if self.rejected:
            why = f"no chunk was accepted (last rejected: {self.rejected})"
        if now_ns < rest_ns:
            return ExecutorStatus.BRAKING, f"{why}: braking"
        return ExecutorStatus.HOLDING, f"{why}: at rest"


class Counters:
    """Counts since the start.

    Attributes:
        received: chunks, the malformed ones too.
        accepted: chunks that became motion.

    """

    def __init__(self) -> None:
        self.received = self.accepted = 0
        self._rejections: Counter[str] = Counter()

    def reject(self, rejection: Rejection) -> Rejection:
        """Count a rejection and hand it back."""
        self._rejections[rejection.reason] += 1
        return rejection

    @property
    def rejections(self) -> dict[str, int]:
        """Rejections by reason, in alphabetical order."""
        return dict(sorted(self._rejections.items()))


class ClockWatch:
    """Notices a clock that jumps: a simulation was reset, or this process stood still."""

    def __init__(self) -> None:
        self._last_ns: int | None = None
        self._stalled_ns: int | None = None
        self._slow = False

    def jump(self, now_ns: int, most_back: float, most_ahead: float) -> str:
        """What happened to the clock, or an empty string; both bounds are s since the last call."""
        step = 0.0 if self._last_ns is None else ns_to_s(now_ns - self._last_ns)
        self._last_ns = now_ns
        if step > _STALL and not self._slow:
            self._stalled_ns = now_ns
        self._slow = step > _STALL
        if step < -most_back:
            return "the clock went back"
        if step > most_ahead:
            return f"the clock went {step:.1f} s ahead, or this process stood still"
        return ""

    def is_catching_up(self, now_ns: int) -> bool:
        """Whether so little time has passed since a stall that what is old may just be unread."""
        return self._stalled_ns is not None and ns_to_s(now_ns - self._stalled_ns) < _CATCHING_UP


def report(
    now_ns: int,
    joint_names: tuple[str, ...],
    chunk: ActionChunk | None,
    motion: CommittedMotion,
    watchdog: Watchdog,
    tally: Counters,
    *,
    shadow: bool,
) -> ExecutorState:
    """What runs, for how long still, and what was rejected; `chunk` is the last one accepted."""
    status, reason = watchdog.status(now_ns, motion.end_ns, motion.rest_ns)
    running = status == ExecutorStatus.RUNNING
    end_ns = motion.end_ns
    return ExecutorState(
        stamp_ns=now_ns,
        status=status,
        reason=reason,
        joint_names=joint_names,
        splice_discontinuity=tuple(motion.splice_discontinuity.tolist()),
        limited_chunks=tuple(motion.limited_chunks.tolist()),
        shadow=shadow,
        hold=watchdog.hold,
        estop=watchdog.estop,
        session=chunk.session if chunk else "",
        episode=chunk.episode if chunk else 0,
        chunk_id=chunk.id if chunk else 0,
        step=ns_to_s(now_ns - chunk.start_ns) / chunk.dt if chunk and running else 0.0,
        chunk_age=ns_to_s(now_ns - chunk.stamp_ns) if chunk else 0.0,
        time_until_braking=ns_to_s(end_ns - now_ns) if running and end_ns is not None else 0.0,
        received=tally.received,
        accepted=tally.accepted,
        underruns=watchdog.underruns,
        rejections=tally.rejections,
        latched=watchdog.latched,
    )
