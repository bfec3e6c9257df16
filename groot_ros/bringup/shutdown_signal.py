"""How a verb that runs processes hears that it shall end."""

import signal
import threading
from types import FrameType
from typing import Any

#: What ends a verb, and what the processes under it must be able to hear.
END_SIGNALS = signal.SIGINT, signal.SIGTERM, signal.SIGHUP


class ShutdownSignal:
    """Notes the first signal to end while it is entered; later ones change nothing.

    Nothing is interrupted: an exception out of a signal handler can surface inside a lock, an
    import or a destructor, which loses it, and then the robot would not be stopped.
    """

    def __init__(self) -> None:
        self._asked = threading.Event()
        self._number = 0
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> "ShutdownSignal":
        for number in END_SIGNALS:
            # A closed terminal (SIGHUP) is as much an end as Ctrl-C, unless nohup says otherwise.
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            # None: of a handler that is not Python's.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)

    @property
    def asked(self) -> bool:
        """Whether a signal came."""
        return self._asked.is_set()

    @property
    def number(self) -> int:
        """The first signal that came, or 0."""
        return self._number

    def wait(self, seconds: float) -> bool:
        """Sleep for so long, or until a signal comes; whether one came."""
        return self._asked.wait(seconds)

    def __str__(self) -> str:
        return f"stopped by {signal.Signals(self._number).name}" if self._number else "not asked"

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        self._number = self._number or number
        self._asked.set()
