# SPDX-License-Identifier: Apache-2.0
"""Metrics of a run, from its log."""

import itertools
from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from groot_ros.core import ExecutorStatus
from groot_ros.evaluation.run_records import NO_CHUNK, ChunkKey, RunLog


@dataclass(frozen=True)
class CommandedRange:
    """Lowest and highest commanded position of a joint, rad or m, and highest speed, per s."""

    low: float
    high: float
    speed: float


@dataclass(frozen=True)
class RunMetrics:
    """Summary of a run.

    Attributes:
        travelled: joint -> range of its measured position while the executor executed chunks.
        commanded: joint -> range of the committed motion; empty without an executor.
        stages: stage -> (p50, p95) in s, over all chunks.
        latency: (p50, p95) from t_obs to the chunk's arrival, s.
        chunk_age: (p50, p95, max) while RUNNING, s.

    """

    travelled: dict[str, float]
    commanded: dict[str, CommandedRange]
    stages: dict[str, tuple[float, float]]
    latency: tuple[float, float]
    chunk_age: tuple[float, float, float]


@dataclass(frozen=True)
class Splice:
    """Start of the motion of a chunk.

    Attributes:
        joint: the one with the largest discontinuity; empty if the executor did not report it.
        discontinuity: committed motion minus chunk before blending, rad or m; NaN if unknown.

    """

    time: float
    chunk: ChunkKey
    joint: str
    discontinuity: float


def run_metrics(log: RunLog) -> RunMetrics:
    """Compute the metrics of one run; they are empty or NaN where the run has no data."""
    spans = running_spans(log)
    stages: dict[str, list[float]] = {}
    for chunk in log.chunks:
        for stage, seconds in chunk.stages.items():
            stages.setdefault(stage, []).append(seconds)
    ages = _inside(log.chunk_ages, spans)[:, 1]
    # The latency of a chunk with stamps of another clock is not known.
    arrivals = np.array([c.received - c.t_obs for c in log.chunks if not np.isnan(c.t_obs)])
    return RunMetrics(
        travelled={name: _range(_inside(rows, spans)[:, 1]) for name, rows in log.joints.items()},
        commanded=commanded_ranges(log),
        stages={s: (_quantile(v, 0.5), _quantile(v, 0.95)) for s, v in stages.items()},
        latency=(_quantile(arrivals, 0.5), _quantile(arrivals, 0.95)),
        chunk_age=(_quantile(ages, 0.5), _quantile(ages, 0.95), _quantile(ages, 1.0)),
    )


def commanded_ranges(log: RunLog) -> dict[str, CommandedRange]:
    """Return joint -> range of the committed motion, with the speed between its points."""
    ranges: dict[str, CommandedRange] = {}
    for timeline in log.timelines:
        steps = np.abs(np.diff(timeline.positions, axis=0)) / np.diff(timeline.times)[:, None]
        speeds = steps.max(axis=0) if len(steps) else np.zeros(len(timeline.joint_names))
        for i, joint in enumerate(timeline.joint_names):
            own = timeline.positions[:, i]
            before = ranges.get(joint, CommandedRange(np.inf, -np.inf, 0.0))
            ranges[joint] = CommandedRange(
                min(before.low, float(own.min())),
                max(before.high, float(own.max())),
                max(before.speed, float(speeds[i])),
            )
    return ranges


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


def commanded_curves(log: RunLog) -> dict[str, NDArray[np.float64]]:
    """Return joint -> [N, 2] of (time, position) that was commanded.

    That is the committed motion, each timeline until the next one was received; without an executor
    the trajectories on the controllers' topics, each until the next one for the joint.
    """
    if log.timelines:
        by_joint: dict[str, list[NDArray[np.float64]]] = {}
        ends = [*(timeline.received for timeline in log.timelines[1:]), log.duration]
        for timeline, end in zip(log.timelines, ends, strict=True):
            due = timeline.times
            current = (due >= timeline.received) & (due < end)
            for joint, positions in zip(timeline.joint_names, timeline.positions.T, strict=True):
                rows = np.stack([due[current], positions[current]], axis=1)
                by_joint.setdefault(joint, []).append(rows)
        return {joint: np.concatenate(rows) for joint, rows in by_joint.items()}
    return _trajectory_curves(log)


def _trajectory_curves(log: RunLog) -> dict[str, NDArray[np.float64]]:
    """Return joint -> [N, 2] of the trajectories; each begins where the one before has got to."""
    sent: dict[str, list[tuple[float, NDArray[np.float64], NDArray[np.float64]]]] = {}
    for trajectory in log.trajectories:
        for joint, positions in zip(trajectory.joint_names, trajectory.positions.T, strict=True):
            sent.setdefault(joint, []).append((trajectory.received, trajectory.times, positions))
    curves = {}
    for joint, own in sent.items():
        position, rows = float(own[0][2][0]), []
        ends = [*(received for received, _, _ in own[1:]), log.duration]
        for (received, due, positions), end in zip(own, ends, strict=True):
            times = np.concatenate([[min(received, due[0])], due])
            values = np.concatenate([[position], positions])
            position = float(np.interp(end, times, values))
            inside = times < end
            rows.append(np.stack([times[inside], values[inside]], axis=1))
            rows.append(np.array([[end, position]]))
        curves[joint] = np.concatenate(rows)
    return curves


def splices(log: RunLog) -> list[Splice]:
    """Return when the executor continued its motion with another chunk."""
    reported = {report.chunk: report for report in reversed(log.reports)}
    found, before = [], NO_CHUNK
    for timeline in log.timelines:
        if timeline.chunk[1] and timeline.chunk != before:
            report = reported.get(timeline.chunk)
            error = (report.joint, report.discontinuity) if report else ("", float("nan"))
            found.append(Splice(timeline.received, timeline.chunk, *error))
        before = timeline.chunk
    return found


def _inside(rows: NDArray[np.float64], spans: list[tuple[float, float]]) -> NDArray[np.float64]:
    keep = np.zeros(len(rows), dtype=bool)
    for begin, end in spans:
        keep |= (rows[:, 0] >= begin) & (rows[:, 0] <= end)
    return rows[keep]


def _range(values: NDArray[np.float64]) -> float:
    return float(np.ptp(values)) if len(values) else 0.0


def _quantile(values: NDArray[np.float64] | list[float], q: float) -> float:
    return float(np.quantile(values, q)) if len(values) else float("nan")
