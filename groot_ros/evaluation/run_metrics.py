# SPDX-License-Identifier: Apache-2.0
"""Metrics of a run, from its log."""

import itertools
from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from groot_ros.core import ExecutorStatus
from groot_ros.evaluation.run_log import RunLog


@dataclass(frozen=True)
class RunMetrics:
    """Summary of a run.

    Attributes:
        travelled: joint -> range of its measured position while the executor executed chunks.
        stages: stage -> (p50, p95) in s, over all chunks.
        latency: (p50, p95) from t_obs to the chunk's arrival, s.
        chunk_age: (p50, p95, max) while RUNNING, s.

    """

    travelled: dict[str, float]
    stages: dict[str, tuple[float, float]]
    latency: tuple[float, float]
    chunk_age: tuple[float, float, float]


def run_metrics(log: RunLog) -> RunMetrics:
    """Compute the metrics of one run; they are empty or NaN where the run has no data."""
    spans = running_spans(log)
    stages: dict[str, list[float]] = {}
    for chunk in log.chunks:
        for stage, seconds in chunk.stages.items():
            stages.setdefault(stage, []).append(seconds)
    ages = _inside(log.chunk_ages, spans)[:, 1]
    arrivals = np.array([c.received - c.t_obs for c in log.chunks])
    return RunMetrics(
        travelled={name: _range(_inside(rows, spans)[:, 1]) for name, rows in log.joints.items()},
        stages={s: (_quantile(v, 0.5), _quantile(v, 0.95)) for s, v in stages.items()},
        latency=(_quantile(arrivals, 0.5), _quantile(arrivals, 0.95)),
        chunk_age=(_quantile(ages, 0.5), _quantile(ages, 0.95), _quantile(ages, 1.0)),
    )


def running_spans(
    log: RunLog, statuses: Collection[int] = (ExecutorStatus.RUNNING, ExecutorStatus.BRAKING)
) -> list[tuple[float, float]]:
    """Return the (begin, end) times during which the executor reported one of these statuses."""
    spans: list[tuple[float, float]] = []
    begin: float | None = None
    for time, status in log.statuses:
        if status in statuses and begin is None:
            begin = float(time)
        elif status not in statuses and begin is not None:
            spans.append((begin, float(time)))
            begin = None
    if begin is not None:
        spans.append((begin, log.duration))
    return spans


def without_chunk(log: RunLog) -> list[tuple[float, float]]:
    """Return the (begin, end) times without a chunk, between the first chunk and the last."""
    begin, end = chunk_span(log)
    running = [
        (max(a, begin), min(b, end))
        for a, b in running_spans(log, (ExecutorStatus.RUNNING,))
        if b > begin and a < end
    ]
    # The time before the first chunk does not count.
    return [(b, a) for (_, b), (a, _) in itertools.pairwise([*running, (end, end)]) if a > b]


def chunk_span(log: RunLog) -> tuple[float, float]:
    """Return the times of the first and the last chunk, or the whole log if there are none."""
    if not log.chunks:
        return 0.0, log.duration
    return log.chunks[0].received, log.chunks[-1].received


def commanded_curve(log: RunLog) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return times [M] and positions [M, J] of the committed motion.

    Each timeline counts until the next one was received.
    """
    times, rows = [], []
    for i, timeline in enumerate(log.timelines):
        last = i + 1 == len(log.timelines)
        end = log.duration if last else log.timelines[i + 1].received
        due = timeline.start + timeline.dt * np.arange(len(timeline.positions))
        current = (due >= timeline.received) & (due < end)
        times.append(due[current])
        rows.append(timeline.positions[current])
    if not times:
        return np.empty(0), np.empty((0, 0))
    return np.concatenate(times), np.concatenate(rows)


def _inside(rows: NDArray[np.float64], spans: list[tuple[float, float]]) -> NDArray[np.float64]:
    keep = np.zeros(len(rows), dtype=bool)
    for begin, end in spans:
        keep |= (rows[:, 0] >= begin) & (rows[:, 0] <= end)
    return rows[keep]


def _range(values: NDArray[np.float64]) -> float:
    return float(np.ptp(values)) if len(values) else 0.0


def _quantile(values: NDArray[np.float64] | list[float], q: float) -> float:
    return float(np.quantile(values, q)) if len(values) else float("nan")
