"""What the executor is doing and why, and what keeps it from moving."""

from groot_ros.control.rejection import Rejection
from groot_ros.core import ExecutorStatus, ReasonCode


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
        self._locked_code = ReasonCode.TRACKING_ERROR
        self._standing_because = ""
        self._standing_code = ReasonCode.STOPPED

    def underrun(self, max_underruns: int) -> None:
        """The tail began for want of a chunk; 0 allows any number."""
        self.underruns += 1
        self._since_resume += 1
        if not self.locked and 0 < max_underruns <= self._since_resume:
            self.lock(f"underrun {self._since_resume} times", ReasonCode.TOO_MANY_UNDERRUNS)
        self._standing_because = ""

    def lock(self, reason: str, code: ReasonCode) -> None:
        """Motion ended for a reason that somebody must look at."""
        self.locked, self._locked_because, self._locked_code = True, reason, code

    def halt(self, reason: str, code: ReasonCode = ReasonCode.STOPPED) -> None:
        """Motion was stopped on purpose; the next accepted chunk ends this."""
        self._standing_because, self._standing_code = reason, code

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
            self.halt("resumed: waiting for a new chunk", ReasonCode.RESUMED)
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
    ) -> tuple[ExecutorStatus, ReasonCode, str]:
        """Return the status, and its reason as code and text.

        The braking tail begins at motion_end_ns and is at rest at rest_ns; both are None before
        the first chunk.
        """
        rejection = self.rejection()
        if self.estop and rejection:
            return ExecutorStatus.ESTOPPED, ReasonCode.EMERGENCY_STOP, rejection.detail
        if rejection:
            code = ReasonCode.OPERATOR_HOLD if self.hold else self._locked_code
            return ExecutorStatus.HOLDING, code, rejection.detail
        if self._standing_because:
            return ExecutorStatus.HOLDING, self._standing_code, self._standing_because
        if motion_end_ns is None or rest_ns is None:
            return ExecutorStatus.IDLE, ReasonCode.WAITING, "waiting for the first chunk"
        if self.astray:
            status = ExecutorStatus.HOLDING if now_ns >= rest_ns else ExecutorStatus.BRAKING
            return status, ReasonCode.TRACKING_ERROR, self.astray
        if now_ns < motion_end_ns:
            return ExecutorStatus.RUNNING, ReasonCode.EXECUTING, "executing a chunk"
        code, why = ReasonCode.NO_CHUNK, "no chunk came in time"
        if self.rejected:
            code = ReasonCode.CHUNKS_REJECTED
            why = f"no chunk was accepted (last rejected: {self.rejected})"
        if now_ns < rest_ns:
            return ExecutorStatus.BRAKING, code, f"{why}: braking"
        return ExecutorStatus.HOLDING, code, f"{why}: at rest"
