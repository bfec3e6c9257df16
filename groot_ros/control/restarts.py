# SPDX-License-Identifier: Apache-2.0
"""Detection of restarts after which motion must not continue without the operator."""


class RestartMonitor:
    """Remember the policy session that moves the robot.

    After the start of the executor, or the operator's resume, the next session may move the robot.
    A chunk of another session is that of a policy that was restarted, or activated again: with an
    instruction that is latched, it would continue without anyone asking for it. Whether a robot was
    restarted shows in its joint states, which stop; it matters only after the robot was moved.
    """

    def __init__(self) -> None:
        self._session: str | None = None

    @property
    def has_moved(self) -> bool:
        """Return whether a chunk was accepted since the last reset()."""
        return self._session is not None

    def is_restart(self, session: str) -> bool:
        """Return whether a chunk of this session comes from a policy that was restarted."""
        return self._session not in (None, session)

    def record_chunk(self, session: str) -> None:
        """Record that a chunk of this session moves the robot."""
        self._session = session

    def reset(self) -> None:
        """Let the next session move the robot, whichever it is."""
        self._session = None
