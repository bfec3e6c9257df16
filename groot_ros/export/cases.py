"""Makes the cases of an oracle: observations, noise, committed motion, the plain form's answers."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from groot_ros.core import Observation
from groot_ros.models.gr00t_n1d6 import draw_noise
from groot_ros.policy import Policy
from groot_ros.runtime.engine import Engine, PrefixInput
from groot_ros.runtime.oracle import Case, ReferenceOutputs

#: Steps of a case with committed motion that are frozen, and over which the pull then decays.
_FROZEN, _PULLED = 2, 5


def make_oracle(
    policy: Policy,
    observations: Sequence[Observation],
    steps: Sequence[int],
    *,
    source: str,
    seed: int = 0,
    progress: Callable[[float], None] = lambda fraction: None,
) -> ReferenceOutputs:
    """The answers of a policy's engine; every second case continues committed motion.

    Args:
        policy: runs the plain form in float32.
        observations: one a case.
        steps: numbers of denoising steps, each answered.
        source: where the observations come from, in words.
        seed: of the noise.
        progress: called with the fraction that is done.

    """
    cases = []
    for number, observation in enumerate(observations):
        inputs, state = policy.encode(observation)
        shape = (1, policy.config.action_horizon, policy.config.max_action_dim)
        noise = draw_noise(shape, seed + number).numpy()
        prefix = committed_motion(policy, seed + number) if number % 2 else None
        actions = {n: policy.engine.run(inputs, noise, n, prefix).actions for n in steps}
        cases.append(Case(inputs, noise, prefix, state, actions))
        progress((number + 1) / len(observations))
    return ReferenceOutputs(tuple(cases), source)


def largest_difference(
    engine: Engine, oracle: ReferenceOutputs, steps: Sequence[int], used: tuple[int, int]
) -> float:
    """Of an engine from stored answers, normalised; infinite where a value is not finite."""
    largest = 0.0
    for case in oracle.cases:
        for n in steps:
            actions = engine.run(case.inputs, case.noise, n, case.prefix).actions
            difference = np.abs(actions - case.actions[n])[:, : used[0], : used[1]]
            worst = float(difference.max()) if np.isfinite(difference).all() else np.inf
            largest = max(largest, worst)
    return largest


def committed_motion(policy: Policy, seed: int) -> PrefixInput:
    """Two frozen steps shown as finished, then a pull that decays: every input of a step at work.

    Drawn smooth and small, normalised.
    """
    total, width = policy.config.action_horizon, policy.config.max_action_dim
    used = sum(policy.action_groups.values())
    rng = np.random.default_rng(seed)
    prefix = np.zeros((1, total, width), dtype=np.float32)
    phase = rng.uniform(0.0, 2.0 * np.pi, used)
    prefix[0, :, :used] = 0.5 * np.sin(phase + 0.2 * np.arange(total)[:, None])
    start, weight = np.zeros_like(prefix), np.zeros_like(prefix)
    start[:, :_FROZEN, :used] = 1.0
    fading = np.linspace(1.0, 0.0, _PULLED + 1, dtype=np.float32)[:-1]
    pulled = slice(_FROZEN, min(_FROZEN + _PULLED, total))
    weight[0, pulled, :used] = fading[: pulled.stop - pulled.start, None]
    clean: NDArray[np.float32] = start[..., 0].copy()
    return PrefixInput(prefix, start, weight, 1.0 - start, clean)
