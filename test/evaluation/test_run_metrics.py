# SPDX-License-Identifier: Apache-2.0
"""Metrics of a run count only what happened while the executor executed chunks."""

import numpy as np
import pytest

from groot_ros.core import ExecutorStatus as Status
from groot_ros.evaluation.run_metrics import (
    commanded_curves,
    run_metrics,
    running_spans,
    splices,
    without_chunk,
)
from groot_ros.evaluation.run_records import Chunk, ExecutorReport, RunLog, Timeline, Trajectory


def log_with(statuses: list[tuple[float, Status]], duration: float = 10.0) -> RunLog:
    log = RunLog(start_ns=0, duration=duration)
    log.statuses = np.array([(t, int(s)) for t, s in statuses], dtype=float).reshape(-1, 2)
    return log


def test_motion_before_and_after_the_chunks_is_not_counted_as_travel() -> None:
    log = log_with([(0.0, Status.IDLE), (2.0, Status.RUNNING), (4.0, Status.HOLDING)])
    times = np.linspace(0, 10, 101)
    log.joints = {"pan": np.stack([times, times], axis=1)}
    assert run_metrics(log).travelled["pan"] == pytest.approx(2.0)


def test_a_robot_without_chunks_travelled_nothing() -> None:
    log = log_with([(0.0, Status.IDLE)])
    log.joints = {"pan": np.array([[0.0, 0.0], [5.0, 3.0]])}
    assert run_metrics(log).travelled == {"pan": 0.0}


def test_braking_counts_as_motion_of_the_policy() -> None:
    log = log_with([(1.0, Status.RUNNING), (2.0, Status.BRAKING), (3.0, Status.HOLDING)])
    assert running_spans(log) == [(1.0, 3.0)]


def test_an_unfinished_span_ends_with_the_log() -> None:
    assert running_spans(log_with([(1.0, Status.RUNNING)], duration=7.0)) == [(1.0, 7.0)]


def test_the_time_without_a_chunk_counts_from_the_first_one_to_the_last() -> None:
    states = [(0.0, Status.IDLE), (1.0, Status.RUNNING), (3.0, Status.BRAKING)]
    log = log_with([*states, (3.5, Status.HOLDING), (5.0, Status.RUNNING), (8.0, Status.BRAKING)])
    log.chunks = [Chunk(t, t, t, 0.03, 16, "", {}) for t in (0.9, 2.0, 7.0, 9.0)]
    assert without_chunk(log) == [(3.0, 5.0), (8.0, 9.0)]
    log.chunks = []
    assert without_chunk(log_with([])) == []


def test_each_timeline_counts_until_the_next_one_was_received() -> None:
    log = log_with([], duration=2.0)
    rows = np.arange(21, dtype=float)[:, None]
    log.timelines = [
        Timeline(0.0, 0.0, 0.1, ("pan",), rows),
        Timeline(1.0, 0.0, 0.1, ("pan",), rows + 100),
    ]
    times, positions = commanded_curves(log)["pan"].T
    assert positions[times < 1.0 - 1e-9].max() == 9
    assert positions[times >= 1.0 - 1e-9].min() == 110
    assert np.all(np.diff(times) > 0)


def test_latency_is_measured_from_the_image_to_the_reception_of_the_chunk() -> None:
    log = log_with([])
    log.chunks = [Chunk(0.3 + i, 0.1 + i, 0.1 + i, 0.03, 16, "", {"head": 0.05}) for i in range(9)]
    metrics = run_metrics(log)
    assert metrics.latency == (pytest.approx(0.2), pytest.approx(0.2))
    assert metrics.stages["head"] == (pytest.approx(0.05), pytest.approx(0.05))


def test_an_empty_run_gives_nan_and_not_an_error() -> None:
    assert np.isnan(run_metrics(log_with([])).latency[0])


def test_without_an_executor_each_trajectory_counts_until_the_next_one() -> None:
    log = log_with([], duration=3.0)
    # The second one replaces the first half way to 1.0; the third is for another joint.
    log.trajectories = [
        Trajectory(0.0, ("pan",), np.array([0.0, 2.0]), np.array([[0.0], [1.0]])),
        Trajectory(1.0, ("pan",), np.array([2.0]), np.array([[-0.5]])),
        Trajectory(1.5, ("lift",), np.array([1.5]), np.array([[7.0]])),
    ]
    curves = commanded_curves(log)
    assert np.interp([0.5, 1.0, 1.5, 2.5], *curves["pan"].T).tolist() == [0.25, 0.5, 0.0, -0.5]
    assert curves["lift"].tolist() == [[1.5, 7.0], [1.5, 7.0], [3.0, 7.0]]


def test_a_splice_is_a_timeline_of_another_chunk_with_the_discontinuity_that_was_reported() -> None:
    log = log_with([])
    rows = np.zeros((2, 1))
    keys = [("", 0), ("s", 1), ("s", 1), ("s", 2)]
    log.timelines = [
        Timeline(float(i), float(i), 0.1, ("pan",), rows, key) for i, key in enumerate(keys)
    ]
    running = (Status.RUNNING, "EXECUTING", "", ("s", 2), "pan", 0.25, False)
    log.reports = [ExecutorReport(3.1, *running)]
    first, second = splices(log)
    assert (first.time, first.chunk, np.isnan(first.discontinuity)) == (1.0, ("s", 1), True)
    assert (second.time, second.joint, second.discontinuity) == (3.0, "pan", 0.25)
