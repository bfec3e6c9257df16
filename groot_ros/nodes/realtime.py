# SPDX-License-Identifier: Apache-2.0
"""Real-time behaviour of the executor's timer: priority, spare time between ticks, jitter."""

import os
import time
from collections import deque
from pathlib import Path

from diagnostic_msgs.msg import DiagnosticStatus, KeyValue

from groot_ros.observation.input_health import LatencyWindow

#: Share of the period that the p99 of the jitter may reach without a warning.
_JITTER_LIMIT = 0.2
_QUANTILES = {"p50": 0.5, "p99": 0.99, "max": 1.0}
#: Number of last durations that decide whether work fits before the next tick.
_BUDGET_WINDOW = 32


def request_realtime(priority: int) -> str:
    """Schedule every thread of this process as SCHED_FIFO; return why not, or an empty string.

    Child processes keep the ordinary policy. Requires root, CAP_SYS_NICE or an rtprio limit (the
    one that ros2_control asks for).
    """
    if not hasattr(os, "sched_setscheduler"):
        return "this system has no SCHED_FIFO"
    policy = os.SCHED_FIFO | os.SCHED_RESET_ON_FORK
    try:
        for thread in Path("/proc/self/task").iterdir():
            os.sched_setscheduler(int(thread.name), policy, os.sched_param(priority))
    except ProcessLookupError:  # a thread ended meanwhile
        return request_realtime(priority)
    except PermissionError:
        return (
            "not permitted: give the user an rtprio limit of at least "
            f"{priority} in /etc/security/limits.conf"
        )
    return ""


class TickBudget:
    """Decide from the last durations whether a piece of work fits before the next tick.

    Args:
        period: s between ticks; before the first measurement, work is assumed to need half of it.

    """

    def __init__(self, period: float) -> None:
        self._durations: deque[float] = deque([period / 2.0], maxlen=_BUDGET_WINDOW)

    def has_time(self, left: float) -> bool:
        """Return whether work that begins now ends before the next tick, in `left` s."""
        return left > max(self._durations)

    def record(self, seconds: float) -> None:
        """Record the duration of a piece of work, s."""
        self._durations.append(seconds)


class TickTiming:
    """Jitter and duration of ticks over about 10 s.

    The jitter is |interval - period| between two ticks on the monotonic clock.

    Args:
        period: s.

    """

    def __init__(self, period: float) -> None:
        self._period = period
        self._jitter = LatencyWindow(size=round(10.0 / period))
        self._work = LatencyWindow(size=round(10.0 / period))
        self._began: float | None = None

    def begin(self) -> None:
        """Record the start of a tick."""
        now = time.perf_counter()
        if self._began is not None:
            self._jitter.record_latency(abs(now - self._began - self._period))
        self._began = now

    def end(self) -> None:
        """Record the end of the tick's work."""
        assert self._began is not None
        self._work.record_latency(time.perf_counter() - self._began)

    def __str__(self) -> str:
        return ", ".join(f"{name} {_ms(value)}" for name, value in self._quantiles().items())

    def status(self, name: str) -> DiagnosticStatus:
        """Return the quantiles for /diagnostics; WARN if the timer is late."""
        quantiles = self._quantiles()
        late = quantiles["jitter p99"] > _JITTER_LIMIT * self._period
        return DiagnosticStatus(
            level=DiagnosticStatus.WARN if late else DiagnosticStatus.OK,
            name=f"{name}: timing",
            message="the timer is late: the machine is overloaded"
            if late
            else "the timer is on time",
            values=[KeyValue(key=key, value=_ms(value)) for key, value in quantiles.items()],
        )

    def _quantiles(self) -> dict[str, float]:
        return {
            f"{what} {name}": value
            for what, window in (("jitter", self._jitter), ("tick", self._work))
            for name, value in zip(_QUANTILES, window.quantiles(*_QUANTILES.values()), strict=True)
        }


def _ms(seconds: float) -> str:
    return f"{1e3 * seconds:.2f} ms"
