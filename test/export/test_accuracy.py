# SPDX-License-Identifier: Apache-2.0
"""Errors of engines, by segment and denoising step, and their latency."""

import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
import torch
from support.tiny_engine import load

from groot_ros.export.accuracy import ErrorAccumulator, measure_accuracy
from groot_ros.export.latency import measure_latency
from groot_ros.export.reference_cases import synthetic_observations
from groot_ros.export.trace import timed
from groot_ros.policy import Policy
from groot_ros.runtime.program_engine import Executor, ProgramEngine

pytestmark = pytest.mark.slow


def test_metrics_are_those_of_all_values_together() -> None:
    errors = ErrorAccumulator()
    errors.add_pair(torch.tensor([[1.0, 2.0]]), torch.tensor([[1.0, 0.0]]))
    errors.add_pair(torch.tensor([3.0]), torch.tensor([4.0]))
    errors.add_pair(torch.empty(0), torch.empty(0))
    metrics = errors.metrics
    assert metrics.mse == pytest.approx((0.0 + 4.0 + 1.0) / 3)
    assert metrics.max_abs == 2.0
    assert metrics.cosine == pytest.approx((1.0 + 12.0) / math.sqrt(14.0 * 17.0))
    errors.add_pair(torch.tensor([float("nan")]), torch.tensor([1.0]))
    assert math.isnan(errors.metrics.max_abs)
    assert math.isnan(ErrorAccumulator().metrics.cosine)


@pytest.fixture(scope="module")
def exact(checkpoint: Path) -> Policy:
    return load(checkpoint, "torch", dtype="float32")


def test_an_engine_against_itself_has_no_error(exact: Policy) -> None:
    accuracy = measure_accuracy(exact, exact, synthetic_observations(exact, 2, size=(48, 64)))
    assert all(f.max_abs == 0.0 for f in (*accuracy.segments.values(), *accuracy.steps))
    assert len(accuracy.steps) == 4
    assert accuracy.actions == accuracy.steps[-1]
    assert math.isnan(accuracy.growth)
    assert {joint.max_abs for joint in accuracy.joints} == {0.0}
    assert len(accuracy.joints) == 6


def changed(
    policy: Policy, segment: str, change: Callable[..., object]
) -> AbstractContextManager[None]:
    """Return a context in which the outputs of one segment are changed."""
    assert isinstance(policy.engine, ProgramEngine)

    def wrap(name: str, executor: Executor) -> Executor:
        return (lambda *inputs: change(executor(*inputs))) if name == segment else executor

    return policy.engine.segment_runner.wrapped(wrap)


def test_an_error_is_found_in_its_segment_and_grows_over_the_steps(
    checkpoint: Path, engine_directory: Path, exact: Policy
) -> None:
    candidate = load(checkpoint, "onnxruntime", engine_directory)
    seen = synthetic_observations(exact, 2, size=(48, 64))
    with changed(candidate, "context", lambda outputs: tuple(1.1 * o for o in outputs)):
        assert isinstance(candidate.engine, ProgramEngine)
        executors = dict(candidate.engine.segment_runner.executors)
        accuracy = measure_accuracy(exact, candidate, seen)
        assert candidate.engine.segment_runner.executors == executors
    assert accuracy.segments["context"].max_abs > 0.01
    for name in ("vision", "language", "denoise"):
        assert accuracy.segments[name].max_abs < 1e-5
    mses = [metrics.mse for metrics in accuracy.steps]
    assert mses[0] > 0
    assert mses == sorted(mses)
    assert accuracy.growth == mses[-1] / mses[0]
    assert max(joint.max_abs for joint in accuracy.joints) > 0
    assert accuracy.to_json()["growth"] == accuracy.growth


def test_the_staged_model_is_compared_with_the_reference_by_its_actions(
    checkpoint: Path, exact: Policy
) -> None:
    reference = load(checkpoint, "reference", dtype="float32")
    accuracy = measure_accuracy(reference, exact, synthetic_observations(exact, 2, size=(48, 64)))
    assert accuracy.reference == "reference"
    assert accuracy.segments == {}
    assert accuracy.steps == ()
    assert math.isnan(accuracy.growth)
    assert 0 < accuracy.actions.max_abs < 1e-5
    assert 0 < max(joint.max_abs for joint in accuracy.joints) < 1e-4


def test_the_reference_has_no_segments_to_measure(checkpoint: Path, exact: Policy) -> None:
    reference = load(checkpoint, "reference")
    seen = synthetic_observations(exact, 1, size=(48, 64))
    with pytest.raises(ValueError, match="engine 'reference' does not run segment by segment"):
        measure_accuracy(exact, reference, seen)
    latency = measure_latency(reference, seen, 1, device=torch.device("cpu"))
    assert latency.segments == {}
    assert set(latency.stages) == {"backbone", "head"}
    assert latency.whole > latency.stages["head"] > 0


def test_every_stage_and_segment_is_timed(exact: Policy) -> None:
    seen, fractions = synthetic_observations(exact, 1, size=(48, 64)), []
    latency = measure_latency(exact, seen, 2, device=torch.device("cpu"), progress=fractions.append)
    assert set(latency.segments) == {"vision", "language", "context", "denoise"}
    assert set(latency.stages) == {"backbone", "head"}
    assert all(t > 0 for t in (*latency.segments.values(), *latency.stages.values()))
    assert latency.hertz == 1.0 / latency.whole
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0


def test_both_timers_record_every_run_of_a_segment(exact: Policy) -> None:
    (seen,) = synthetic_observations(exact, 1, size=(48, 64))
    inputs = {**exact.encode(seen)[0], **exact.checkpoint.processor.draw(0)}
    assert isinstance(exact.engine, ProgramEngine)
    for timer in ("wall", "cuda_event"):
        with timed(exact.engine.segment_runner, torch.device("cpu"), timer) as seconds:
            exact.engine.run(inputs, 3)
        counts = {name: len(times) for name, times in seconds.items()}
        assert counts == {"vision": 1, "language": 1, "context": 1, "denoise": 3}
        assert all(time > 0 for times in seconds.values() for time in times)


def test_actions_that_are_not_finite_have_no_error_in_any_joint(
    checkpoint: Path, exact: Policy
) -> None:
    candidate = load(checkpoint, "torch", dtype="float32")
    with changed(candidate, "denoise", lambda actions: actions * float("nan")):
        observations = synthetic_observations(exact, 2, size=(48, 64))
        accuracy = measure_accuracy(exact, candidate, observations)
    assert len(accuracy.joints) == 6
    assert all(math.isnan(joint.max_abs) for joint in accuracy.joints)
    assert math.isnan(accuracy.actions.max_abs)
    assert math.isnan(accuracy.segments["denoise"].max_abs)


def test_each_view_is_drawn_in_its_own_size(exact: Policy) -> None:
    (seen,) = synthetic_observations(exact, 1, size={"front": (48, 64), "wrist": (56, 32)})
    assert {view: image.shape[1:3] for view, image in seen.images.items()} == {
        "front": (48, 64),
        "wrist": (56, 32),
    }
