"""Figures of errors, and where in an engine they are found."""

import math
from pathlib import Path

import pytest
import torch
from support.tiny_engine import load

from groot_ros.export.accuracy import Gatherer, measure_accuracy
from groot_ros.export.latency import measure_latency
from groot_ros.export.observations import synthetic
from groot_ros.policy import Policy
from groot_ros.runtime.staged_engine import StagedEngine

pytestmark = pytest.mark.slow


def test_figures_are_those_of_all_values_together() -> None:
    gatherer = Gatherer()
    gatherer.add(torch.tensor([[1.0, 2.0]]), torch.tensor([[1.0, 0.0]]))
    gatherer.add(torch.tensor([3.0]), torch.tensor([4.0]))
    gatherer.add(torch.empty(0), torch.empty(0))
    figures = gatherer.figures
    assert figures.mse == pytest.approx((0.0 + 4.0 + 1.0) / 3)
    assert figures.max_abs == 2.0
    assert figures.cosine == pytest.approx((1.0 + 12.0) / math.sqrt(14.0 * 17.0))
    gatherer.add(torch.tensor([float("nan")]), torch.tensor([1.0]))
    assert math.isnan(gatherer.figures.max_abs)
    assert math.isnan(Gatherer().figures.cosine)


@pytest.fixture(scope="module")
def exact(checkpoint: Path) -> Policy:
    return load(checkpoint, "torch", dtype="float32")


def test_an_engine_against_itself_has_no_error(exact: Policy) -> None:
    accuracy = measure_accuracy(exact, exact, synthetic(exact, 2, size=(48, 64)))
    assert all(f.max_abs == 0.0 for f in (*accuracy.stages.values(), *accuracy.steps))
    assert len(accuracy.steps) == 4
    assert accuracy.actions == accuracy.steps[-1]
    assert math.isnan(accuracy.growth)
    assert {joint.max_abs for joint in accuracy.joints} == {0.0}
    assert len(accuracy.joints) == 6


def test_an_error_is_found_in_its_stage_and_grows_over_the_steps(
    checkpoint: Path, engine_directory: Path, exact: Policy
) -> None:
    candidate = load(checkpoint, "onnxruntime", engine_directory)
    assert isinstance(candidate.engine, StagedEngine)
    stages = candidate.engine.stage_runner.stages
    context = stages.context

    def spoilt(*inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return tuple(1.1 * output for output in context(*inputs))

    object.__setattr__(stages, "context", spoilt)
    seen = synthetic(exact, 2, size=(48, 64))
    accuracy = measure_accuracy(exact, candidate, seen)
    assert accuracy.stages["context"].max_abs > 0.01
    for name in ("vision", "language", "denoise"):
        assert accuracy.stages[name].max_abs < 1e-5
    mses = [figures.mse for figures in accuracy.steps]
    assert mses[0] > 0
    assert mses == sorted(mses)
    assert accuracy.growth == mses[-1] / mses[0]
    assert max(joint.max_abs for joint in accuracy.joints) > 0
    assert candidate.engine.stage_runner.stages.context is spoilt
    assert accuracy.to_json()["growth"] == accuracy.growth


def test_the_fast_form_is_held_against_the_plain_one_by_its_actions(
    checkpoint: Path, exact: Policy
) -> None:
    plain = load(checkpoint, "plain", dtype="float32")
    accuracy = measure_accuracy(plain, exact, synthetic(exact, 2, size=(48, 64)))
    assert accuracy.reference == "plain"
    assert accuracy.stages == {}
    assert accuracy.steps == ()
    assert math.isnan(accuracy.growth)
    assert 0 < accuracy.actions.max_abs < 1e-5
    assert 0 < max(joint.max_abs for joint in accuracy.joints) < 1e-4


def test_the_plain_form_cannot_be_looked_into(checkpoint: Path, exact: Policy) -> None:
    plain = load(checkpoint, "plain")
    seen = synthetic(exact, 1, size=(48, 64))
    with pytest.raises(ValueError, match="engine 'plain' does not run stage by stage"):
        measure_accuracy(exact, plain, seen)
    latency = measure_latency(plain, seen, 1, device=torch.device("cpu"))
    assert latency.stages == {}
    assert latency.whole > latency.head > 0


def test_every_stage_is_timed(exact: Policy) -> None:
    seen, fractions = synthetic(exact, 1, size=(48, 64)), []
    latency = measure_latency(exact, seen, 2, device=torch.device("cpu"), progress=fractions.append)
    assert set(latency.stages) == {"vision", "language", "context", "denoise"}
    assert all(seconds > 0 for seconds in latency.stages.values())
    assert latency.hertz == 1.0 / latency.whole
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0


def test_what_is_not_finite_has_no_error_in_any_joint(checkpoint: Path, exact: Policy) -> None:
    candidate = load(checkpoint, "torch", dtype="float32")
    assert isinstance(candidate.engine, StagedEngine)
    stages = candidate.engine.stage_runner.stages
    denoise = stages.denoise
    object.__setattr__(stages, "denoise", lambda *inputs: denoise(*inputs) * float("nan"))
    accuracy = measure_accuracy(exact, candidate, synthetic(exact, 2, size=(48, 64)))
    assert len(accuracy.joints) == 6
    assert all(math.isnan(joint.max_abs) for joint in accuracy.joints)
    assert math.isnan(accuracy.actions.max_abs)
    assert math.isnan(accuracy.stages["denoise"].max_abs)


def test_each_view_is_drawn_in_its_own_size(exact: Policy) -> None:
    (seen,) = synthetic(exact, 1, size={"front": (48, 64), "wrist": (56, 32)})
    assert {view: image.shape[1:3] for view, image in seen.images.items()} == {
        "front": (48, 64),
        "wrist": (56, 32),
    }
