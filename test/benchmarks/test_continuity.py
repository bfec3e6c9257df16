# SPDX-License-Identifier: Apache-2.0
"""The continuity benchmark: the results given in the documentation, on fewer seeds."""

import numpy as np
import pytest

from benchmarks.continuity import report
from benchmarks.continuity.methods import METHODS, execute
from benchmarks.continuity.policies import SYNTHETIC, Stream, recorded
from benchmarks.continuity.report import metrics
from groot_ros.sim.controllers import RULES

pytestmark = pytest.mark.slow

OWN = ("this executor", "this executor, RTC")


def run_metrics(name, source, stream):
    return metrics(execute(METHODS[name], source, "jazzy", stream))


@pytest.mark.parametrize("name", OWN)
@pytest.mark.parametrize("seed", [2, 8])
def test_inconsistent_chunks_stay_below_twice_the_intended_acceleration(name, seed):
    """The seeds are the two of ten with the largest accelerations from blending."""
    own = run_metrics(name, SYNTHETIC, Stream(seed=seed))
    hard = run_metrics("hard replacement", SYNTHETIC, Stream(seed=seed))
    assert own.acceleration < 2.0
    assert hard.acceleration > 100.0
    assert own.path_error < 1.05 * hard.path_error
    assert own.finish < 1.05 * hard.finish


@pytest.mark.parametrize("name", OWN)
def test_consistent_chunks_are_executed_as_intended(name):
    own = run_metrics(name, SYNTHETIC, Stream(jitter=0.0, sigma=0.0))
    assert own.path_error < 0.1
    assert own.acceleration < 1.05


def test_a_recorded_policy_is_executed_within_velocity_and_acceleration_limits():
    source = recorded()
    assert source.joints[0] == "shoulder_pan"
    run = execute(METHODS["this executor"], source, "jazzy", Stream(loss=0.1))
    limits = source.contract.joints[source.joints[0]].limits
    steps = np.abs(np.diff(run.commands, axis=0))
    assert steps.max() <= limits.velocity * 0.004 * (1 + 1e-6)
    assert np.abs(np.diff(run.commands, 2, axis=0)).max() <= limits.acceleration * 0.004**2 * 1.001


@pytest.mark.parametrize(
    ("stream", "budget"),
    [
        (Stream(), (6, 6)),
        (Stream(latency=0.0, jitter=0.0), (1, 6)),
        (Stream(latency=0.3), (12, 12)),
    ],
)
def test_a_stream_has_the_step_budget_of_its_worst_delay(stream: Stream, budget) -> None:
    assert stream.budget == budget


def test_the_picture_shows_the_distribution_in_its_title(tmp_path, monkeypatch) -> None:
    drawn = {}
    monkeypatch.setattr(report, "every_method", lambda source, distro, _: {distro: [source]})
    monkeypatch.setattr(report, "latencies", lambda *_: {})
    monkeypatch.setattr(report, "show", lambda *_: None)
    monkeypatch.setattr(
        report, "draw", lambda runs, path, title, _: drawn.update({path.name: (runs, title)})
    )
    report.main(["--seeds", "1", "--pictures", str(tmp_path)])
    assert list(RULES) == ["jazzy", "humble"]
    runs, title = drawn["continuity.png"]
    assert list(runs) == ["jazzy"]
    assert title.startswith("jazzy: ")
