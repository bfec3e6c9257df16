"""New motion goes out once; what could not go out in time, or at all, never was."""

from groot_ros.control.motion import CommittedMotion
from groot_ros.control.outputs import Outputs, Update
from groot_ros.control.settings import ExecutorConfig
from groot_ros.core import ActionChunk, MalformedError


class Dispatch:
    """Sends the motion in force, and takes back what the controllers did not get.

    Attributes:
        due: whether the motion has changed since it was sent.

    """

    def __init__(self, motion: CommittedMotion, outputs: Outputs) -> None:
        self._motion = motion
        self._outputs = outputs
        self.due = False

    def rollback(self, now_ns: int) -> None:
        """Forget new motion that is over already: the process stood still for as long."""
        if self.due and self._motion.is_at_rest(now_ns):
            self.due = False
            self._take_back()

    def send(
        self,
        chunk: ActionChunk | None,
        row_dt: float,
        now_ns: int,
        settings: ExecutorConfig,
        *,
        quiet: bool,
    ) -> Update | None:
        """The messages that are due, or None; `row_dt` is of the chunk's knots, s.

        A `quiet` one says only to the policy that the controllers are left with what they have.
        Raises MalformedError for motion that must not be sent, and takes it back.
        """
        due, self.due = self.due, False
        if due and quiet and self._motion.sent is not self._outputs.published:
            self._take_back()
        sent, plan = self._motion.sent, self._motion.plan
        if not due or sent is None or plan is None:
            return None
        try:
            return self._outputs.update(sent, plan, chunk, row_dt, now_ns, settings, quiet=quiet)
        except MalformedError:
            self._take_back()
            raise

    def _take_back(self) -> None:
        """Make what the controllers follow the motion in force again."""
        if self._outputs.published is None:
            self._motion.clear()
        else:
            self._motion.return_to(self._outputs.published)
