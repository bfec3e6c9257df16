# SPDX-License-Identifier: Apache-2.0
"""Latency statistics of a run, and the step budget that follows."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from groot_ros.core import ActionChunk, ActionGroup, ActionKind
from groot_ros.observation.inference_stats import (
    InferenceStats,
    StepBudget,
    step_budget,
)

MS = 1_000_000
DT = 1 / 30


def chunk(stamp_ns):
    values = np.zeros((16, 1))
    group = ActionGroup(ActionKind.JOINT_POSITION, "arm", ("a",), ("rad",), values)
    return ActionChunk(stamp_ns, stamp_ns, DT, (group,))


def after_chunks(*, count=10, period_ms=200, delay_ms=90):
    stats = InferenceStats()
    for i in range(count):
        now = (1000 + i * period_ms) * MS
        stats.record_chunk(chunk(now - delay_ms * MS), {"head": 0.05, "snapshot": 0.001}, now)
    return stats, now


@pytest.mark.parametrize(
    ("delay", "executed", "horizon", "ok"),
    [(2, 6, 16, True), (7, 7, 16, True), (8, 8, 16, True), (9, 9, 16, False), (3, 2, 16, False)],
)
def test_a_budget_needs_room_for_the_delay_on_both_sides(delay, executed, horizon, ok):
    assert StepBudget(delay, executed, horizon).ok is ok


@given(st.floats(0, 2), st.floats(0.01, 2), st.floats(0.005, 0.1))
def test_the_budget_covers_delay_and_period_and_never_executes_less_than_the_delay(
    delay, period, dt
):
    budget = step_budget(delay, period, dt, 16)
    assert (budget.inference_delay - 1) * dt >= delay - 0.1 * dt - 1e-9
    assert budget.execution_horizon * dt >= period - 0.1 * dt - 1e-9
    assert budget.execution_horizon >= budget.inference_delay >= 1


def test_a_period_of_whole_steps_is_not_rounded_up_by_rounding_errors():
    # A contract says 0.0333333333, and 0.2 / 0.0333333333 = 6.000000006.
    assert step_budget(0.09, 0.2, 0.0333333333, 16) == StepBudget(
        inference_delay=4, execution_horizon=6, horizon=16
    )


def test_statistics_of_a_steady_run():
    stats, now = after_chunks()
    assert stats.rate(now) == pytest.approx(5.0)
    (head,), (snapshot,) = (stats.quantiles(0.5)[name] for name in ("head", "snapshot"))
    assert (head, snapshot) == (0.05, 0.001)
    assert stats.budget(5.0, DT, 16, now) == StepBudget(
        inference_delay=4, execution_horizon=6, horizon=16
    )


def test_a_rate_below_the_target_is_taken_as_measured():
    stats, now = after_chunks(period_ms=400)
    assert stats.budget(5.0, DT, 16, now).execution_horizon == 12


def test_before_the_first_chunk_no_budget_is_met():
    budget = InferenceStats().budget(5.0, DT, 16, 0)
    assert (budget.inference_delay, budget.execution_horizon, budget.ok) == (0, 0, False)
