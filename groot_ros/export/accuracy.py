"""How far an engine is from the exact form: stage by stage, step by step, joint by joint."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from groot_ros.export.figures import Figures, Gatherer
from groot_ros.export.trace import Trace, as_tuple, recorded
from groot_ros.models.gr00t_n1d6 import draw_noise
from groot_ros.policy import Policy
from groot_ros.runtime import StagedEngine
from groot_ros.runtime.gr00t_n1d6 import STAGES, Stages
from groot_ros.types import Observation


@dataclass(frozen=True)
class JointError:
    """Largest error of one joint (or column), in its unit."""

    group: str
    name: str
    unit: str
    max_abs: float


@dataclass(frozen=True)
class Accuracy:
    """Against the exact fast form in float32 with the same noise.

    Attributes:
        stages: each fed with the reference's inputs, so that errors do not add up.
        steps: normalised actions after every denoising step of a whole run, where they do.
        actions: the last of them, and what becomes of it.
        joints: over all observations and steps of the chunk.
        observations: how many.

    """

    stages: Mapping[str, Figures]
    steps: tuple[Figures, ...]
    joints: tuple[JointError, ...]
    observations: int

    @property
    def growth(self) -> float:
        """Mean squared error of the last denoising step over that of the first; NaN from 0."""
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
        reference: engine "torch" in float32.
        candidate: another engine of the same checkpoint.
        observations: in both policies' units.
        seed: of the noise.
        progress: called with the fraction that is done.

    """
    exact, engine = _staged(reference), _staged(candidate)
    by_stage = {name: Gatherer() for name in STAGES}
    by_step: dict[int, Gatherer] = {}
    joints: dict[tuple[str, str, str], float] = {}
    used = sum(candidate.action_groups.values())
    for number, observation in enumerate(observations):
        noise = draw_noise(
            (1, candidate.config.action_horizon, candidate.config.max_action_dim), seed + number
        ).numpy()
        wanted, expected = _run(reference, exact, observation, noise)
        given, actions = _run(candidate, engine, observation, noise)
        _compare_stages(engine.stage_executor.stages, wanted, given, by_stage)
        pairs = zip(given.calls["denoise"], wanted.calls["denoise"], strict=True)
        for step, (a, b) in enumerate(pairs):
            kept = slice(0, candidate.horizon), slice(0, used)
            by_step.setdefault(step, Gatherer()).add(a.outputs[0][0][kept], b.outputs[0][0][kept])
        _compare_joints(candidate, observation, actions, expected, joints)
        progress((number + 1) / len(observations))
    return Accuracy(
        {name: gathered.figures for name, gathered in by_stage.items()},
        tuple(gathered.figures for gathered in by_step.values()),
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
    policy: Policy, engine: StagedEngine, observation: Observation, noise: NDArray[np.float32]
) -> tuple[Trace, NDArray[np.float32]]:
    inputs, _ = policy.encode(observation)
    with recorded(engine.stage_executor) as trace:
        result = engine.run(inputs, noise, policy.num_inference_steps)
    return trace, result.actions


@torch.inference_mode()
def _compare_stages(
    stages: Stages, wanted: Trace, given: Trace, gatherers: Mapping[str, Gatherer]
) -> None:
    for name in STAGES:
        for reference, own in zip(wanted.calls[name], given.calls[name], strict=True):
            inputs = [_like(a, b) for a, b in zip(reference.inputs, own.inputs, strict=True)]
            outputs = as_tuple(getattr(stages, name)(*inputs))
            for a, b in zip(outputs, reference.outputs, strict=True):
                gatherers[name].add(a, b)


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
    pairs = zip(policy.decode(actions[0], state), policy.decode(expected[0], state), strict=True)
    for one, other in pairs:
        worst = np.abs(one.values - other.values).max(axis=0)
        names = one.names if len(one.names) == one.width else [f"{i}" for i in range(one.width)]
        units = one.units if len(one.units) == one.width else ["1"] * one.width
        for name, unit, value in zip(names, units, worst, strict=True):
            key = one.name, name, unit
            joints[key] = max(joints.get(key, 0.0), float(value))
