"""Signal handling of the commands that supervise processes."""

import signal
import threading
from types import FrameType
from typing import Any

#: Signals that end a command; its child processes must handle them too.
END_SIGNALS = signal.SIGINT, signal.SIGTERM, signal.SIGHUP


class ShutdownSignal:
    """Context manager that records the first end signal; later signals have no effect.

    It only sets a flag: an exception raised by a signal handler can surface inside a lock, an
    import or a destructor and be lost there, and the robot would not be stopped.
    """

    def __init__(self) -> None:
        self._received = threading.Event()
        self._number = 0
        self._previous: dict[signal.Signals, Any] = {}

    def __enter__(self) -> "ShutdownSignal":
        for number in END_SIGNALS:
            # SIGHUP (terminal closed) ends the command as Ctrl-C does, except under nohup.
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
                self._previous[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            # None: the previous handler was not installed from Python and cannot be restored.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)

    @property
    def received(self) -> bool:
        """Return whether an end signal has been received."""
        return self._received.is_set()

    @property
    def number(self) -> int:
        """Return the number of the first end signal, 0 if none has been received."""
        return self._number

    def wait(self, timeout: float) -> bool:
        """Wait for an end signal for at most `timeout` s; return whether one was received."""
        return self._received.wait(timeout)

    def __str__(self) -> str:
        return f"stopped by {signal.Signals(self._number).name}" if self._number else "running"

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        self._number = self._number or number
        self._received.set()
