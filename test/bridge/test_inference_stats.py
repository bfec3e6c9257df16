"""What a run's chunks cost, and the step budget that follows."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from groot_ros.bridge.inference_stats import STAGES, InferenceStats, StepBudget, step_budget
from groot_ros.core import ActionChunk, ActionGroup, ActionKind

MS = 1_000_000
DT = 1 / 30


def chunk(stamp_ns):
    values = np.zeros((16, 1))
    group = ActionGroup(ActionKind.JOINT_POSITION, "arm", ("a",), ("rad",), values)
    return ActionChunk(stamp_ns, stamp_ns, DT, (group,))


def after_chunks(*, count=10, period_ms=200, delay_ms=90):
    figures = InferenceStats()
    for i in range(count):
        now = (1000 + i * period_ms) * MS
        figures.add(chunk(now - delay_ms * MS), {"head": 0.05, "snapshot": 0.001}, now)
    return figures, now


@pytest.mark.parametrize(
    ("d", "s", "horizon", "ok"),
    [(2, 6, 16, True), (7, 7, 16, True), (8, 8, 16, True), (9, 9, 16, False), (3, 2, 16, False)],
)
def test_a_budget_needs_room_for_the_delay_on_both_sides(d, s, horizon, ok):
    assert StepBudget(d, s, horizon).ok is ok


@given(st.floats(0, 2), st.floats(0.01, 2), st.floats(0.005, 0.1))
def test_the_budget_covers_delay_and_period_and_never_executes_less_than_the_delay(
    delay, period, dt
):
    budget = step_budget(delay, period, dt, 16)
    assert (budget.d - 1) * dt >= delay - 0.1 * dt - 1e-9
    assert budget.s * dt >= period - 0.1 * dt - 1e-9
    assert budget.s >= budget.d >= 1


def test_a_period_of_whole_steps_is_not_rounded_up_by_a_hair():
    # A contract says 0.0333333333, and 0.2 / 0.0333333333 = 6.000000006.
    assert step_budget(0.09, 0.2, 0.0333333333, 16) == StepBudget(d=4, s=6, horizon=16)


def test_the_figures_of_a_steady_run():
    figures, now = after_chunks()
    assert figures.rate(now) == pytest.approx(5.0)
    p50 = dict(zip(STAGES, figures.quantile(0.5), strict=True))
    assert (p50["head"], p50["snapshot"], p50["decode"]) == (0.05, 0.001, 0.0)
    assert figures.budget(5.0, DT, 16, now) == StepBudget(d=4, s=6, horizon=16)


def test_a_rate_that_is_not_reached_counts_as_it_is():
    figures, now = after_chunks(period_ms=400)
    assert figures.budget(5.0, DT, 16, now).s == 12


def test_before_a_chunk_was_measured_no_budget_is_good():
    budget = InferenceStats().budget(5.0, DT, 16, 0)
    assert (budget.d, budget.s, budget.ok) == (0, 0, False)
