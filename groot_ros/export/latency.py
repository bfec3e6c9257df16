# SPDX-License-Identifier: Apache-2.0
"""Measure how long the stages and segments of an engine take on this machine."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from groot_ros.core import Observation
from groot_ros.export.trace import timed
from groot_ros.policy import Policy
from groot_ros.runtime.program_engine import ProgramEngine

#: Number of runs before the first that is measured.
_WARM_UP = 3


@dataclass(frozen=True)
class Latency:
    """Median times, s.

    Attributes:
        segments: segment -> time of all its runs in one inference; empty for an engine that does
            not run segment by segment.
        stages: stage -> time measured by the engine itself, without timing of segments.
        whole: time of `Policy.infer`, including processing.
        runs: number of measured runs.

    """

    segments: Mapping[str, float]
    stages: Mapping[str, float]
    whole: float
    runs: int

    @property
    def hertz(self) -> float:
        """Return the number of consecutive inferences per second."""
        return 1.0 / self.whole


def measure_latency(
    policy: Policy,
    observations: Sequence[Observation],
    runs: int,
    *,
    device: torch.device,
    timer: str = "wall",
    progress: Callable[[float], None] = lambda fraction: None,
) -> Latency:
    """Return median times of inferences on the observations in turn, after a warm-up.

    Args:
        policy: policy to measure.
        observations: used cyclically.
        runs: number of measured runs.
        device: device of the policy.
        timer: clock of the segments' times; see `trace.timed`.
        progress: called with the fraction that is done.

    """
    names = [stage.name for stage in policy.checkpoint.program.stages]
    wholes: list[float] = []
    stages: dict[str, list[float]] = {name: [] for name in names}
    for number in range(_WARM_UP + runs):
        chunk = policy.infer(observations[number % len(observations)], seed=0)
        if number >= _WARM_UP:
            wholes.append(sum(chunk.stage_seconds.values()))
            for name in names:
                stages[name].append(chunk.stage_seconds[name])
        progress((number + 1) / (_WARM_UP + 2 * runs))
    segments = _segments(policy, observations[0], runs, device, timer)
    progress(1.0)
    return Latency(
        segments,
        {name: float(np.median(values)) for name, values in stages.items()},
        float(np.median(wholes)),
        runs,
    )


def _segments(
    policy: Policy, observation: Observation, runs: int, device: torch.device, timer: str
) -> dict[str, float]:
    if not isinstance(policy.engine, ProgramEngine):
        return {}
    engine = policy.engine.without_graphs()
    inputs, _ = policy.encode(observation)
    inputs = {**inputs, **policy.checkpoint.processor.draw(0)}
    sums: dict[str, list[float]] = {}
    for _ in range(runs):
        with timed(engine.segment_runner, device, timer) as seconds:
            engine.run(inputs, policy.num_inference_steps)
        for name, values in seconds.items():
            sums.setdefault(name, []).append(sum(values))
    return {name: float(np.median(values)) for name, values in sums.items()}
