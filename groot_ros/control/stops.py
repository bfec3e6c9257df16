# SPDX-License-Identifier: Apache-2.0
"""Every way in which the motion of the robot is ended by something other than its chunk."""

from groot_ros.control.chunk_execution import ChunkExecution
from groot_ros.control.chunk_validation import ChunkValidator
from groot_ros.control.executor_status import StatusTracker
from groot_ros.control.settings import ExecutorConfig
from groot_ros.control.supervision import Supervision
from groot_ros.core import ReasonCode


class Stops:
    """Ends the motion, reports why, and rejects the chunks that were observed before.

    Attributes:
        status: latched stops, and the reason of the last stop.

    Args:
        execution: of the chunks.
        validator: of the chunks.
        supervision: whether the controllers may be sent another message.

    """

    def __init__(
        self, execution: ChunkExecution, validator: ChunkValidator, supervision: Supervision
    ) -> None:
        self.status = StatusTracker()
        self._execution = execution
        self._validator = validator
        self._supervision = supervision

    @property
    def must_not_command(self) -> bool:
        """Return whether to send nothing that may make a controller jump.

        An emergency stop is always sent.
        """
        return self._supervision.messages_missed and not self.status.estop

    def halt(
        self,
        now_ns: int,
        settings: ExecutorConfig,
        reason: str,
        code: ReasonCode = ReasonCode.STOPPED,
    ) -> None:
        """Brake, as hard as the limits allow during an emergency stop."""
        self._record(now_ns, reason, code)
        self._brake(now_ns, settings)

    def continue_motion_sent(self, now_ns: int, settings: ExecutorConfig) -> None:
        """Take over motion that a controller follows after an outage; brake if a stop was given."""
        self._supervision.reset()
        if self._execution.stopped:
            self._brake(now_ns, settings)

    def _brake(self, now_ns: int, settings: ExecutorConfig) -> None:
        self._execution.brake(
            now_ns,
            settings,
            0.0 if self.status.estop else settings.braking_time,
            silently=self.must_not_command,
        )

    def lock(
        self,
        now_ns: int,
        settings: ExecutorConfig,
        reason: str,
        code: ReasonCode = ReasonCode.TRACKING_ERROR,
    ) -> None:
        """Brake, latched until resume(); the next motion starts from the measured state."""
        self.status.lock(reason, code)
        self._execution.restart = True
        self.halt(now_ns, settings, reason, code)

    def drop(self, now_ns: int, reason: str, code: ReasonCode = ReasonCode.STOPPED) -> None:
        """Drop the motion without a message: the trajectories that were sent run to their end."""
        self._execution.drop(now_ns)
        self._record(now_ns, reason, code)

    def pause(self, now_ns: int, settings: ExecutorConfig) -> bool:
        """Stand where the robot was paused; return whether there is motion to send."""
        why = "the speed scaling of the robot is 0: set its speed slider, or end its pause"
        self._record(now_ns, why, ReasonCode.PAUSED)
        self._execution.executing = False
        return not self.must_not_command and self._execution.stand(now_ns, settings)

    def end_pause(self, now_ns: int, scaling: float) -> None:
        """Let the next chunk move the robot, at this speed scaling."""
        why = f"the speed scaling of the robot is {scaling:.0%} again: waiting for a new chunk"
        self._record(now_ns, why, ReasonCode.PAUSED)

    def release(self, now_ns: int, reason: str) -> None:
        """Let the next chunk move a robot at rest."""
        self._record(now_ns, reason, ReasonCode.RELEASED)

    def end_where_inactive(self) -> None:
        """Let the other controllers come to rest by their tails, as one is inactive."""
        self.status.halt(self._supervision.inactive, ReasonCode.CONTROLLER_INACTIVE)
        self._execution.record_inactive()
        self._execution.end_silently()

    def restart_at_rest(
        self, now_ns: int, settings: ExecutorConfig, controller: str, what: str
    ) -> None:
        """Let the next chunk move this controller from where it stands after an outage."""
        self._execution.stand_where_held(now_ns, settings, controller)
        self._supervision.reset()
        self.status.tracking_fault = ""
        why = f"controller '{controller}' {what}: waiting for a new chunk"
        self._record(now_ns, why, ReasonCode.CONTROLLER_INACTIVE)

    def _record(self, now_ns: int, reason: str, code: ReasonCode) -> None:
        self.status.halt(reason, code)
        self._validator.reject_observed_until(now_ns)
