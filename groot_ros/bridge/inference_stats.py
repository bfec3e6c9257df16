"""What the chunks of a run cost, and whether inference keeps up."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from threading import Lock

from groot_ros.core import NS_PER_S, ActionChunk, ns_to_s
from groot_ros.observation.latency import LatencyWindow
from groot_ros.observation.rate import RateMeter

#: The stages of a chunk, in order; the model's own are between the first and the last.
STAGES = ("snapshot", "preprocess", "backbone", "head", "decode", "publish")

#: Share of a step by which a period may waver without counting as a step more.
_JITTER = 0.1


@dataclass(frozen=True)
class StepBudget:
    """Whether inference keeps up, in steps of the chunk.

    `ok` is d <= s <= H - d: a chunk lasts until the next one, and what is left of it covers
    the delay. Kevin Black et al., Real-Time Execution of Action Chunking Flow Policies, 2025.

    Attributes:
        d: steps from t_obs until the chunk can act, one more for the way to the executor.
        s: steps executed of each chunk.
        horizon: H.

    """

    d: int
    s: int
    horizon: int

    @property
    def ok(self) -> bool:
        """Whether the chunks overlap enough; never before the delay was measured."""
        return 0 < self.d <= self.s <= self.horizon - self.d


def step_budget(delay: float, period: float, dt: float, horizon: int) -> StepBudget:
    """The budget of a delay from t_obs to the published chunk and a period of inference, s."""
    d = ceil(delay / dt - _JITTER) + 1
    return StepBudget(d, max(ceil(period / dt - _JITTER), d), horizon)


class InferenceStats:
    """Durations by stage, delay and rate of the last chunks; safe between threads."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._stages = {name: LatencyWindow() for name in STAGES}
        self._delay = LatencyWindow()
        # Long, because a large model on a small machine makes a chunk every few seconds.
        self._rate = RateMeter(10 * NS_PER_S)

    def add(self, chunk: ActionChunk, stage_seconds: Mapping[str, float], now_ns: int) -> None:
        """A chunk that was published now."""
        with self._lock:
            self._rate.add(now_ns)
            self._delay.add(ns_to_s(now_ns - chunk.stamp_ns))
            for name, seconds in stage_seconds.items():
                if name in self._stages:
                    self._stages[name].add(seconds)

    def rate(self, now_ns: int) -> float:
        """Chunks per second."""
        with self._lock:
            return self._rate.rate(now_ns)

    def quantile(self, share: float) -> list[float]:
        """Of every stage, s."""
        with self._lock:
            return [window.quantile(share) for window in self._stages.values()]

    def budget(self, rate_wanted: float, dt: float, horizon: int, now_ns: int) -> StepBudget:
        """At the p95 of the delay, and at the rate really reached where it is the lower."""
        with self._lock:
            if not len(self._delay):
                return StepBudget(0, 0, horizon)
            rate = min(self._rate.rate(now_ns) or rate_wanted, rate_wanted)
            return step_budget(self._delay.quantile(0.95), 1.0 / rate, dt, horizon)
