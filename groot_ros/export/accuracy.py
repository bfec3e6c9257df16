# SPDX-License-Identifier: Apache-2.0
"""Compare an engine with a reference: by segment, by denoising step, and by joint.

The reference is engine "torch" in float32, which has the same segments. That engine itself is
compared with engine "reference", which has no segments: only the actions are compared.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from groot_ros.core import Observation
from groot_ros.core.program import ProgramSpec
from groot_ros.export.trace import Trace, as_tuple, recorded
from groot_ros.policy import Policy
from groot_ros.runtime.engine import Engine
from groot_ros.runtime.program_engine import ProgramEngine, SegmentRunner


@dataclass(frozen=True)
class ErrorMetrics:
    """Mean squared error, cosine of the angle between the vectors of all values, largest error."""

    mse: float
    cosine: float
    max_abs: float


class ErrorAccumulator:
    """Accumulates errors over pairs of tensors, in float64."""

    def __init__(self) -> None:
        self._count = 0
        self._squares = self._dot = self._norm_a = self._norm_b = 0.0
        self._largest = 0.0

    def add_pair(self, given: Tensor, reference: Tensor) -> None:
        """Add the errors of a tensor against a reference of the same shape."""
        a, b = given.detach().double().cpu().flatten(), reference.detach().double().cpu().flatten()
        if not a.numel():
            return
        self._count += a.numel()
        self._squares += float((a - b).square().sum())
        self._dot += float(a @ b)
        self._norm_a += float(a @ a)
        self._norm_b += float(b @ b)
        # torch.maximum propagates NaN, max() may not.
        worst = torch.tensor([self._largest, float((a - b).abs().max())])
        self._largest = float(worst.max())

    @property
    def metrics(self) -> ErrorMetrics:
        """Return the metrics over all pairs; NaN if a value is not finite.

        Without values `mse` and `cosine` are NaN and `max_abs` is 0.
        """
        norm = (self._norm_a * self._norm_b) ** 0.5
        cosine = self._dot / norm if norm else float("nan")
        mse = self._squares / self._count if self._count else float("nan")
        return ErrorMetrics(mse, cosine, self._largest)


@dataclass(frozen=True)
class JointError:
    """Largest error of one joint or column, in `unit`."""

    group: str
    name: str
    unit: str
    max_abs: float


@dataclass(frozen=True)
class Accuracy:
    """Errors against a reference in float32 with the same random inputs.

    Attributes:
        reference: engine of the reference, "torch" or "reference".
        segments: segment -> errors of its outputs when it gets the reference's inputs, so that
            errors of earlier segments are not included; empty against engine "reference".
        steps: errors of the normalised actions after every denoising step of a whole run; empty
            against engine "reference".
        actions: errors of the normalised actions at the end of a run.
        joints: largest errors over all observations and steps of the chunk; NaN if an action is
            not finite.
        observations: number of observations.

    """

    reference: str
    segments: Mapping[str, ErrorMetrics]
    steps: tuple[ErrorMetrics, ...]
    actions: ErrorMetrics
    joints: tuple[JointError, ...]
    observations: int

    @property
    def growth(self) -> float:
        """Return the mean squared error of the last denoising step divided by that of the first.

        NaN without denoising steps, or if the first error is 0.
        """
        if not self.steps:
            return float("nan")
        first, last = self.steps[0].mse, self.steps[-1].mse
        return last / first if first else float("nan")

    def to_json(self) -> dict[str, Any]:
        """Return all fields and the growth, for a JSON file."""
        return {**asdict(self), "growth": self.growth}


def measure_accuracy(
    reference: Policy,
    candidate: Policy,
    observations: Sequence[Observation],
    *,
    seed: int = 0,
    progress: Callable[[float], None] = lambda fraction: None,
) -> Accuracy:
    """Run two policies on the same observations and random inputs, and return the errors.

    Args:
        reference: policy in float32 with engine "torch", or with engine "reference" to compare the
            actions only.
        candidate: policy with another engine of the same checkpoint.
        observations: observations in the units of both policies.
        seed: seed of the random inputs.
        progress: called with the fraction that is done.

    Raises:
        ValueError: the reference runs segment by segment and the candidate does not.

    """
    engines = None
    if isinstance(reference.engine, ProgramEngine):
        engines = reference.engine.without_graphs(), _by_segment(candidate).without_graphs()
    by_segment: dict[str, ErrorAccumulator] = {}
    by_step: dict[int, ErrorAccumulator] = {}
    at_end = ErrorAccumulator()
    joints: dict[tuple[str, str, str], float] = {}
    used = candidate.checkpoint.processor.used
    for number, observation in enumerate(observations):
        drawn = candidate.checkpoint.processor.draw(seed + number)
        if engines is None:
            expected, given = (
                _run(p, p.engine, observation, drawn) for p in (reference, candidate)
            )
        else:
            runners = [engine.segment_runner for engine in engines]
            with recorded(runners[0]) as reference_trace:
                expected = _run(reference, engines[0], observation, drawn)
            with recorded(runners[1]) as given_trace:
                given = _run(candidate, engines[1], observation, drawn)
            _compare_segments(runners[1], reference_trace, given_trace, by_segment)
            for step, (one, other) in enumerate(
                zip(
                    _step_results(candidate, given_trace),
                    _step_results(candidate, reference_trace),
                    strict=True,
                )
            ):
                by_step.setdefault(step, ErrorAccumulator()).add_pair(one, other)
        at_end.add_pair(torch.from_numpy(used(given)), torch.from_numpy(used(expected)))
        _compare_joints(candidate, observation, given, expected, joints)
        progress((number + 1) / len(observations))
    return Accuracy(
        reference.engine.name,
        {name: errors.metrics for name, errors in by_segment.items()},
        tuple(errors.metrics for errors in by_step.values()),
        at_end.metrics,
        tuple(JointError(*key, worst) for key, worst in joints.items()),
        len(observations),
    )


def _by_segment(policy: Policy) -> ProgramEngine:
    if not isinstance(policy.engine, ProgramEngine):
        raise ValueError(
            f"engine '{policy.engine.name}' does not run segment by segment: only its actions can "
            "be validated"
        )
    return policy.engine


def _run(
    policy: Policy, engine: Engine, observation: Observation, drawn: Mapping[str, NDArray[Any]]
) -> Mapping[str, NDArray[Any]]:
    inputs, _ = policy.encode(observation)
    return engine.run({**inputs, **drawn}, policy.num_inference_steps).outputs


def _step_results(policy: Policy, trace: Trace) -> list[Tensor]:
    """Return the values that `used` selects after each denoising step, empty without steps."""
    program: ProgramSpec = policy.checkpoint.program
    last = program.segments[-1]
    if last.per != "step":
        return []
    names = [tensor.name for tensor in last.outputs]
    used = policy.checkpoint.processor.used
    return [
        torch.from_numpy(
            used({n: t.float().cpu().numpy() for n, t in zip(names, call.outputs, strict=True)})
        )
        for call in trace.calls[last.name]
    ]


@torch.inference_mode()
def _compare_segments(
    runner: SegmentRunner, expected: Trace, given: Trace, errors: dict[str, ErrorAccumulator]
) -> None:
    for name, executor in runner.executors.items():
        accumulator = errors.setdefault(name, ErrorAccumulator())
        for reference, own in zip(expected.calls[name], given.calls[name], strict=True):
            inputs = [_like(a, b) for a, b in zip(reference.inputs, own.inputs, strict=True)]
            for a, b in zip(as_tuple(executor(*inputs)), reference.outputs, strict=True):
                accumulator.add_pair(a, b)


def _like(tensor: Tensor, other: Tensor) -> Tensor:
    return tensor.to(other.device, other.dtype)


def _compare_joints(
    policy: Policy,
    observation: Observation,
    given: Mapping[str, NDArray[Any]],
    expected: Mapping[str, NDArray[Any]],
    joints: dict[tuple[str, str, str], float],
) -> None:
    _, state = policy.encode(observation)
    finite = np.isfinite(policy.checkpoint.processor.used(given)).all()
    # Values that are not finite cannot be decoded, so every column's error is NaN.
    decoded = policy.decode(given, state) if finite else None
    for index, one in enumerate(policy.decode(expected, state)):
        values = np.full_like(one.values, np.nan) if decoded is None else decoded[index].values
        worst = np.abs(one.values - values).max(axis=0)
        names = one.names if len(one.names) == one.width else [f"{i}" for i in range(one.width)]
        units = one.units if len(one.units) == one.width else ["1"] * one.width
        for name, unit, value in zip(names, units, worst, strict=True):
            key = one.name, name, unit
            joints[key] = float(np.maximum(joints.get(key, 0.0), value))
