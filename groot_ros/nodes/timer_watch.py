"""How punctual a timer is, and how long its work takes."""

import time

from diagnostic_msgs.msg import DiagnosticStatus, KeyValue

from groot_ros.observation.latency import LatencyWindow

#: A timer that is late by more than this share of its period, once in a hundred, is a warning.
_LATE_SHARE = 0.2
_QUANTILES = {"p50": 0.5, "p99": 0.99, "max": 1.0}


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
        return ", ".join(f"{name} {_ms(value)}" for name, value in self._figures().items())

    def status(self, name: str) -> DiagnosticStatus:
        """The figures for /diagnostics."""
        figures = self._figures()
        late = figures["jitter p99"] > _LATE_SHARE * self._period
        return DiagnosticStatus(
            level=DiagnosticStatus.WARN if late else DiagnosticStatus.OK,
            name=f"{name}: timing",
            message="the timer is late: too much load beside it"
            if late
            else "the timer is on time",
            values=[KeyValue(key=key, value=_ms(value)) for key, value in figures.items()],
        )

    def _figures(self) -> dict[str, float]:
        return {
            f"{what} {name}": value
            for what, window in (("jitter", self._jitter), ("tick", self._work))
            for name, value in zip(_QUANTILES, window.quantiles(*_QUANTILES.values()), strict=True)
        }


def _ms(seconds: float) -> str:
    return f"{1e3 * seconds:.2f} ms"
