"""How long the stages of an engine take on this machine."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from groot_ros.core import Observation
from groot_ros.export.trace import timed
from groot_ros.models.gr00t_n1d6 import draw_noise
from groot_ros.policy import Policy
from groot_ros.runtime.names import STAGES
from groot_ros.runtime.staged_engine import StagedEngine

#: Runs before anything is measured.
_WARM_UP = 3


@dataclass(frozen=True)
class Latency:
    """Medians, s.

    Attributes:
        stages: vision and denoise are sums over their runs in one inference; empty for an engine
            that does not run stage by stage.
        backbone, head: as the engine measures them, with nothing recorded in between.
        whole: of `Policy.infer`, processing included.
        runs: how many were measured.

    """

    stages: dict[str, float]
    backbone: float
    head: float
    whole: float
    runs: int

    @property
    def hertz(self) -> float:
        """Inferences a second, one after the other."""
        return 1.0 / self.whole


def measure_latency(
    policy: Policy,
    observations: Sequence[Observation],
    runs: int,
    *,
    device: torch.device,
    progress: Callable[[float], None] = lambda fraction: None,
) -> Latency:
    """Median times over observations in turn, after a warm-up."""
    wholes, backbones, heads = [], [], []
    for number in range(_WARM_UP + runs):
        chunk = policy.infer(observations[number % len(observations)], seed=0)
        if number >= _WARM_UP:
            wholes.append(sum(chunk.stage_seconds.values()))
            backbones.append(chunk.stage_seconds["backbone"])
            heads.append(chunk.stage_seconds["head"])
        progress((number + 1) / (_WARM_UP + 2 * runs))
    stages = _stages(policy, observations[0], runs, device)
    progress(1.0)
    return Latency(
        stages,
        float(np.median(backbones)),
        float(np.median(heads)),
        float(np.median(wholes)),
        runs,
    )


def _stages(
    policy: Policy, observation: Observation, runs: int, device: torch.device
) -> dict[str, float]:
    if not isinstance(policy.engine, StagedEngine):
        return {}
    engine = policy.engine.launched_singly()
    inputs, _ = policy.encode(observation)
    shape = (1, policy.config.action_horizon, policy.config.max_action_dim)
    noise = draw_noise(shape, 0).numpy()
    sums: dict[str, list[float]] = {name: [] for name in STAGES}
    for _ in range(runs):
        with timed(engine.stage_runner, device) as seconds:
            engine.run(inputs, noise, policy.num_inference_steps)
        for name, values in seconds.items():
            sums[name].append(sum(values))
    return {name: float(np.median(values)) for name, values in sums.items()}
