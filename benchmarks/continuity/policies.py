# SPDX-License-Identifier: Apache-2.0
"""Synthetic and recorded policy of the benchmark, and the streams of their chunks."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from groot_ros.control.curve import Curve, knot_velocities
from groot_ros.core.share import robot_path
from groot_ros.observation.inference_stats import step_budget
from groot_ros.robot import RobotContract, load_contract
from groot_ros.robot.contract import parse_contract

Array = NDArray[np.float64]

RECORDING = Path(__file__).parent / "recorded_chunks.npz"
#: s: period of the control loop.
PERIOD = 0.004
HORIZON, DT = 16, 1 / 30
#: s: smallest time between two chunks.
CHUNK_PERIOD = 0.2


@dataclass(frozen=True)
class Source:
    """Policy whose intended motion is known.

    Attributes:
        joints: names, in the order of every array [..., N].
        contract: robot contract with the limits of these joints.
        seconds: duration of a run.
        arrived: rad; a run has finished once it stays this close to the end of the motion.
        intended: time in s -> intended positions [..., N] rad.
        propose: time in s, generator, sigma -> time of the observation and a chunk [16, N] rad.

    """

    joints: tuple[str, ...]
    contract: RobotContract
    seconds: float
    arrived: float
    intended: Callable[[Array | float], Array]
    propose: Callable[[float, np.random.Generator, float], tuple[float, Array]]


def arm_contract(limits: dict[str, dict[str, object]]) -> RobotContract:
    """Return a contract with one trajectory controller for these joints."""
    joints = list(limits)
    return parse_contract(
        {
            "version": 2,
            "robot": "benchmark",
            "action_dt": DT,
            "joints": {joint: {"limits": own} for joint, own in limits.items()},
            "inputs": {"state": {}, "sources": {"arm": {"topic": "joint_states"}}},
            "outputs": {"arm": [{"controller": "arm", "joints": joints}]},
            "cameras": {"front": {"topic": "front", "rate": 30.0}},
            "controllers": [{"name": "arm", "joints": joints}],
        }
    )


#: s: duration of the synthetic motion, and of its deceleration at the end.
_MOTION, _STOPPING = 6.0, 1.0


def sways(t: Array | float) -> Array:
    """Return the positions [..., 3] in rad at time t in s; the motion stops after 6 s.

    It slows down over its last second.
    """
    t = np.asarray(t, dtype=np.float64)
    late = np.clip(t - (_MOTION - _STOPPING), 0.0, _STOPPING)
    along = np.minimum(t, _MOTION - _STOPPING) + late - late**2 / (2.0 * _STOPPING)
    phase = 2 * np.pi * along
    third = 0.5 * np.sin(0.2 * phase - 0.4) + 0.15 * np.sin(0.8 * phase)
    return np.stack([0.6 * np.sin(0.3 * phase), 0.4 * np.sin(0.45 * phase + 0.7), third], axis=-1)


def _shifted(t: float, rng: np.random.Generator, sigma: float) -> tuple[float, Array]:
    offset = rng.normal(0.0, sigma, 3) if sigma else np.zeros(3)
    return t, sways(t + DT * np.arange(HORIZON, dtype=np.float64)) + offset


SYNTHETIC = Source(
    joints=("j1", "j2", "j3"),
    contract=arm_contract(
        {
            name: {"position": [-3.0, 3.0], "velocity": 6.0, "acceleration": 60.0}
            for name in ("j1", "j2", "j3")
        }
    ),
    seconds=8.0,
    arrived=0.06,
    intended=sways,
    propose=_shifted,
)


@cache
def recorded() -> Source:
    """Return the recorded policy for the arm without its gripper, which is not blended."""
    with np.load(RECORDING) as file:
        chunks = file["chunks"].astype(np.float64)[:, :, :-1]
        names = tuple(str(name) for name in file["joints"][:-1])
        interval = float(file["interval"])
    # The last chunk covers the end of the run.
    seconds = interval * (len(chunks) - 1)
    grid = PERIOD * np.arange(round(seconds / PERIOD) + 2)
    total, weight = np.zeros((len(grid), len(names))), np.zeros((len(grid), 1))
    for k, chunk in enumerate(chunks):
        phase = (grid - k * interval) / (DT * (HORIZON - 1))
        # Nothing precedes the first chunk, so its start needs a weight above 0.
        share = np.sin(np.pi * np.clip(phase, 0.0, 1.0)) ** 2 + (1e-9 if k == 0 else 0.0)
        inside = share > 0.0
        since_ns = np.round((grid[inside] - k * interval) * 1e9).astype(np.int64)
        total[inside] += share[inside, None] * _curve(chunk).sample(since_ns)[0]
        weight[inside, 0] += share[inside]
    mean = total / weight

    def intended(t: Array | float) -> Array:
        at = np.asarray(t, dtype=np.float64)
        return np.stack([np.interp(at, grid, column) for column in mean.T], axis=-1)

    def propose(t: float, _rng: np.random.Generator, _sigma: float) -> tuple[float, Array]:
        k = min(int(t / interval + 1e-6), len(chunks) - 1)
        return k * interval, chunks[k]

    limits = load_contract(robot_path("so101")).joints
    return Source(
        joints=names,
        contract=arm_contract(
            {
                name: {
                    "position": [limits[name].limits.lower, limits[name].limits.upper],
                    "velocity": limits[name].limits.velocity,
                    "acceleration": limits[name].limits.acceleration,
                }
                for name in names
            }
        ),
        seconds=seconds,
        arrived=0.1,
        intended=intended,
        propose=propose,
    )


def _curve(chunk: Array) -> Curve:
    times = np.round(DT * 1e9 * np.arange(HORIZON)).astype(np.int64)
    return Curve(times, chunk, knot_velocities(chunk, DT))


@dataclass(frozen=True)
class Stream:
    """Timing and errors of the chunks of one run.

    Attributes:
        latency: mean time from the observation to the arrival of a chunk, s.
        jitter: largest deviation from it, s.
        sigma: standard deviation of a chunk's constant offset, rad.
        loss: share of the chunks that are lost.
        seed: seed of the random generator.

    """

    latency: float = 0.1
    jitter: float = 0.04
    sigma: float = 0.02
    loss: float = 0.0
    seed: int = 0

    @property
    def period(self) -> float:
        """Return the time between chunks in s; an inference starts after the previous one."""
        return max(CHUNK_PERIOD, self.latency + self.jitter)

    @property
    def budget(self) -> tuple[int, int]:
        """Return the inference delay and execution horizon that the policy assumes, in steps."""
        budget = step_budget(self.latency + self.jitter, self.period, DT, HORIZON)
        return budget.inference_delay, budget.execution_horizon


@dataclass(frozen=True)
class Proposal:
    """Chunk in transport.

    Attributes:
        arrival: time of arrival, s.
        t_obs: time of the observation, s.
        values: [16, N] rad.

    """

    arrival: float
    t_obs: float
    values: Array


def proposals(source: Source, stream: Stream) -> list[Proposal]:
    """Return the chunks of a run that are not lost, in order of arrival."""
    rng = np.random.default_rng(stream.seed)
    arriving = []
    for requested in np.arange(0.0, source.seconds, stream.period):
        late = max(0.0, stream.latency + rng.uniform(-stream.jitter, stream.jitter))
        t_obs, values = source.propose(float(requested), rng, stream.sigma)
        lost = rng.random() < stream.loss
        if not lost:
            arriving.append(Proposal(t_obs + late, t_obs, values))
    return sorted(arriving, key=lambda p: p.arrival)
