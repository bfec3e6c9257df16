# SPDX-License-Identifier: Apache-2.0
"""Latencies and rate of inference, and the step budget of real-time chunking that follows."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from threading import Lock

from groot_ros.core import NS_PER_S, ActionChunk, ns_to_s
from groot_ros.observation.input_health import LatencyWindow, RateMeter

#: Share of a step by which a duration may exceed a whole number of steps without rounding up.
_JITTER = 0.1


@dataclass(frozen=True)
class StepBudget:
    """Steps that pass before a chunk can act, and steps of it that are executed.

    With the inference delay d, the execution horizon s and the horizon H, the budget is met if
    d <= s <= H - d: a chunk lasts until the next one, and the rest of it covers the delay. Kevin
    Black et al., Real-Time Execution of Action Chunking Flow Policies, 2025.

    Attributes:
        inference_delay: d, steps from t_obs until the chunk can act, including one for the way
            to the executor; 0 before the first chunk.
        execution_horizon: s, steps executed of each chunk.
        horizon: H, steps of a chunk.

    """

    inference_delay: int
    execution_horizon: int
    horizon: int

    @property
    def ok(self) -> bool:
        """Return whether the budget is met; False before the delay is measured."""
        delay, executed = self.inference_delay, self.execution_horizon
        return 0 < delay <= executed <= self.horizon - delay


def step_budget(delay: float, period: float, dt: float, horizon: int) -> StepBudget:
    """Return the budget for the delay from t_obs to the published chunk and the period, s."""
    inference_delay = ceil(delay / dt - _JITTER) + 1
    executed = max(ceil(period / dt - _JITTER), inference_delay)
    return StepBudget(inference_delay, executed, horizon)


class InferenceStats:
    """Thread-safe statistics of the last chunks: durations by stage, delay and rate."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._stages: dict[str, LatencyWindow] = {}
        self._delay = LatencyWindow()
        # Long window, because a large model on a small machine takes several seconds per chunk.
        self._rate = RateMeter(10 * NS_PER_S)

    def record_chunk(
        self, chunk: ActionChunk, stage_seconds: Mapping[str, float], now_ns: int
    ) -> None:
        """Record a chunk that was published at `now_ns`."""
        with self._lock:
            self._rate.record_event(now_ns)
            self._delay.record_latency(ns_to_s(now_ns - chunk.stamp_ns))
            for name, seconds in stage_seconds.items():
                self._stages.setdefault(name, LatencyWindow()).record_latency(seconds)

    def rate(self, now_ns: int) -> float:
        """Return chunks per second."""
        with self._lock:
            return self._rate.rate(now_ns)

    def quantiles(self, *shares: float) -> dict[str, list[float]]:
        """Return stage -> quantiles of its duration, s, in the order of execution."""
        with self._lock:
            return {name: window.quantiles(*shares) for name, window in self._stages.items()}

    def budget(self, target_rate: float, dt: float, horizon: int, now_ns: int) -> StepBudget:
        """Return the budget at the p95 of the delay and the lower of target and measured rate."""
        with self._lock:
            if not len(self._delay):
                return StepBudget(0, 0, horizon)
            rate = min(self._rate.rate(now_ns) or target_rate, target_rate)
            return step_budget(self._delay.quantile(0.95), 1.0 / rate, dt, horizon)
