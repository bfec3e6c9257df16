"""How far an engine is from the exact form: stage by stage, step by step, joint by joint.

The reference is the exact fast form in float32, which has the same stages. That one itself is held
against the plain form, which has none: only their actions compare.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from groot_ros.core import Observation
from groot_ros.export.figures import Figures, Gatherer
from groot_ros.export.trace import Trace, as_tuple, recorded
from groot_ros.models.gr00t_n1d6 import draw_noise
from groot_ros.policy import Policy
from groot_ros.runtime.engine import Engine
from groot_ros.runtime.gr00t_n1d6 import Stages
from groot_ros.runtime.names import STAGES
from groot_ros.runtime.plain_engine import ReferenceEngine
from groot_ros.runtime.staged_engine import StagedEngine


@dataclass(frozen=True)
class JointError:
    """Largest error of one joint (or column), in its unit."""

    group: str
    name: str
    unit: str
    max_abs: float


@dataclass(frozen=True)
class Accuracy:
    """Against a reference in float32 with the same noise.

    Attributes:
        reference: name of its engine, "torch" or "plain".
        stages: each fed with the reference's inputs, so that errors do not add up; none against
            the plain form.
        steps: normalised actions after every denoising step of a whole run; none likewise.
        actions: normalised actions at the end of a run.
        joints: over all observations and steps of the chunk; NaN where an action was not finite.
        observations: how many.

    """

    reference: str
    stages: Mapping[str, Figures]
    steps: tuple[Figures, ...]
    actions: Figures
    joints: tuple[JointError, ...]
    observations: int

    @property
    def growth(self) -> float:
        """Mean squared error of the last denoising step over that of the first; NaN from 0."""
        if not self.steps:
            return float("nan")
        first, last = self.steps[0].mse, self.steps[-1].mse
        return last / first if first else float("nan")

    def to_json(self) -> dict[str, Any]:
        """Everything, for a file."""
        return {**asdict(self), "growth": self.growth}


def measure_accuracy(
    reference: Policy,
    candidate: Policy,
    observations: Sequence[Observation],
    *,
    seed: int = 0,
    progress: Callable[[float], None] = lambda fraction: None,
) -> Accuracy:
    """Run both on the same observations and noise.

    Args:
        reference: in float32, engine "torch", or "plain" for the actions alone.
        candidate: another engine of the same checkpoint.
        observations: in both policies' units.
        seed: of the noise.
        progress: called with the fraction that is done.

    """
    engines = None
    if reference.engine.name != ReferenceEngine.name:
        engines = _staged(reference), _staged(candidate)
    by_stage: dict[str, Gatherer] = {}
    by_step: dict[int, Gatherer] = {}
    at_end = Gatherer()
    joints: dict[tuple[str, str, str], float] = {}
    kept = slice(0, candidate.horizon), slice(0, sum(candidate.action_groups.values()))
    for number, observation in enumerate(observations):
        noise = draw_noise(
            (1, candidate.config.action_horizon, candidate.config.max_action_dim), seed + number
        ).numpy()
        if engines is None:
            expected, actions = (
                _run(p, p.engine, observation, noise) for p in (reference, candidate)
            )
        else:
            with recorded(engines[0].stage_runner) as wanted:
                expected = _run(reference, engines[0], observation, noise)
            with recorded(engines[1].stage_runner) as given:
                actions = _run(candidate, engines[1], observation, noise)
            _compare_stages(engines[1].stage_runner.stages, wanted, given, by_stage)
            pairs = zip(given.calls["denoise"], wanted.calls["denoise"], strict=True)
            for step, (a, b) in enumerate(pairs):
                one, other = a.outputs[0][0][kept], b.outputs[0][0][kept]
                by_step.setdefault(step, Gatherer()).add(one, other)
        at_end.add(torch.from_numpy(actions[0][kept]), torch.from_numpy(expected[0][kept]))
        _compare_joints(candidate, observation, actions, expected, joints)
        progress((number + 1) / len(observations))
    return Accuracy(
        reference.engine.name,
        {name: gathered.figures for name, gathered in by_stage.items()},
        tuple(gathered.figures for gathered in by_step.values()),
        at_end.figures,
        tuple(JointError(*key, worst) for key, worst in joints.items()),
        len(observations),
    )


def _staged(policy: Policy) -> StagedEngine:
    if not isinstance(policy.engine, StagedEngine):
        raise ValueError(
            f"engine '{policy.engine.name}' does not run stage by stage: only its actions can be "
            "validated"
        )
    return policy.engine.launched_singly()


def _run(
    policy: Policy, engine: Engine, observation: Observation, noise: NDArray[np.float32]
) -> NDArray[np.float32]:
    inputs, _ = policy.encode(observation)
    return engine.run(inputs, noise, policy.num_inference_steps).actions


@torch.inference_mode()
def _compare_stages(
    stages: Stages, wanted: Trace, given: Trace, gatherers: dict[str, Gatherer]
) -> None:
    for name in STAGES:
        gatherer = gatherers.setdefault(name, Gatherer())
        for reference, own in zip(wanted.calls[name], given.calls[name], strict=True):
            inputs = [_like(a, b) for a, b in zip(reference.inputs, own.inputs, strict=True)]
            outputs = as_tuple(getattr(stages, name)(*inputs))
            for a, b in zip(outputs, reference.outputs, strict=True):
                gatherer.add(a, b)


def _like(tensor: Tensor, other: Tensor) -> Tensor:
    return tensor.to(other.device, other.dtype)


def _compare_joints(
    policy: Policy,
    observation: Observation,
    actions: NDArray[np.float32],
    expected: NDArray[np.float32],
    joints: dict[tuple[str, str, str], float],
) -> None:
    _, state = policy.encode(observation)
    wanted = policy.decode(expected[0], state)
    used = actions[0, : policy.horizon, : sum(policy.action_groups.values())]
    # What is not finite cannot be decoded.
    given = policy.decode(actions[0], state) if np.isfinite(used).all() else None
    for index, one in enumerate(wanted):
        values = np.full_like(one.values, np.nan) if given is None else given[index].values
        worst = np.abs(one.values - values).max(axis=0)
        names = one.names if len(one.names) == one.width else [f"{i}" for i in range(one.width)]
        units = one.units if len(one.units) == one.width else ["1"] * one.width
        for name, unit, value in zip(names, units, worst, strict=True):
            key = one.name, name, unit
            joints[key] = float(np.maximum(joints.get(key, 0.0), value))
