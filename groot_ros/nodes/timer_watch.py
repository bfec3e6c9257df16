"""How punctual a timer is, and how long its work takes."""

import time

from diagnostic_msgs.msg import DiagnosticStatus, KeyValue

from groot_ros.bridge.latency import LatencyWindow

#: A timer that is late by more than this share of its period, once in a hundred, is a warning.
_LATE_SHARE = 0.2


class TimerWatch:
    """Jitter = |interval - period| between two ticks on the steady clock, over 10 s or so.

    Args:
        period: s.

    """

    def __init__(self, period: float) -> None:
        self._period = period
        self._jitter = LatencyWindow(size=round(10.0 / period))
        self._work = LatencyWindow(size=round(10.0 / period))
        self._began: float | None = None

    def begin(self) -> None:
        """A tick begins."""
        now = time.perf_counter()
        if self._began is not None:
            self._jitter.add(abs(now - self._began - self._period))
        self._began = now

    def end(self) -> None:
        """Its work is done."""
        assert self._began is not None
        self._work.add(time.perf_counter() - self._began)

    def __str__(self) -> str:
        return ", ".join(f"{name} {value}" for name, value in self._figures().items())

    def status(self, name: str) -> DiagnosticStatus:
        """The figures for /diagnostics."""
        late = self._jitter.quantile(0.99) > _LATE_SHARE * self._period
        return DiagnosticStatus(
            level=DiagnosticStatus.WARN if late else DiagnosticStatus.OK,
            name=f"{name}: timing",
            message="the timer is late: too much load beside it"
            if late
            else "the timer is on time",
            values=[KeyValue(key=key, value=value) for key, value in self._figures().items()],
        )

    def _figures(self) -> dict[str, str]:
        quantiles = {"p50": 0.5, "p99": 0.99, "max": 1.0}
        return {
            f"{what} {q}": f"{1e3 * window.quantile(share):.2f} ms"
            for what, window in (("jitter", self._jitter), ("tick", self._work))
            for q, share in quantiles.items()
        }
