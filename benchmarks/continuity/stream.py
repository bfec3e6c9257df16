"""How chunks come: late, unevenly, and not all of them."""

from dataclasses import dataclass

import numpy as np

from benchmarks.continuity.policies import DT, HORIZON, Array, Source
from groot_ros.observation.inference_stats import step_budget

#: s between chunks where inference is quick enough.
INFERENCE = 0.2


@dataclass(frozen=True)
class Stream:
    """Seconds, rad, and the share of chunks that is lost."""

    latency: float = 0.1
    jitter: float = 0.04
    sigma: float = 0.02
    loss: float = 0.0
    seed: int = 0

    @property
    def period(self) -> float:
        """Seconds between chunks: the next inference begins when the last one is done."""
        return max(INFERENCE, self.latency + self.jitter)

    @property
    def budget(self) -> tuple[int, int]:
        """Steps of delay d and of period s that the policy counts on."""
        budget = step_budget(self.latency + self.jitter, self.period, DT, HORIZON)
        return budget.inference_delay, budget.execution_horizon


@dataclass(frozen=True)
class Proposal:
    """A chunk on its way: values [16, N] observed at t_obs s, here at `arrival` s."""

    arrival: float
    t_obs: float
    values: Array


def proposals(source: Source, stream: Stream) -> list[Proposal]:
    """What the policy says, in order of arrival."""
    rng = np.random.default_rng(stream.seed)
    sent = []
    for asked in np.arange(0.0, source.seconds, stream.period):
        late = max(0.0, stream.latency + rng.uniform(-stream.jitter, stream.jitter))
        t_obs, values = source.propose(float(asked), rng, stream.sigma)
        lost = rng.random() < stream.loss
        if not lost:
            sent.append(Proposal(t_obs + late, t_obs, values))
    return sorted(sent, key=lambda p: p.arrival)
