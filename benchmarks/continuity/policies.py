"""What is intended, and what is proposed: a synthetic policy and a recorded one."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from benchmarks.continuity.record import RECORDING
from groot_ros.control.curve import Curve, knot_velocities
from groot_ros.core.share import robot_path
from groot_ros.robot import RobotContract, load_contract
from groot_ros.robot.contract import parse_contract

Array = NDArray[np.float64]

#: s of the control loop.
PERIOD = 0.004
HORIZON, DT = 16, 1 / 30


@dataclass(frozen=True)
class Source:
    """A policy whose intention is known.

    Attributes:
        joints: in the order of every array [..., N].
        contract: with limits of these joints.
        seconds: of a run.
        arrived: rad; who is this close to the end, and stays so, has finished.
        intended: s -> [..., N] rad.
        propose: s, generator, sigma -> s of the observation and [16, N] rad.

    """

    joints: tuple[str, ...]
    contract: RobotContract
    seconds: float
    arrived: float
    intended: Callable[[Array | float], Array]
    propose: Callable[[float, np.random.Generator, float], tuple[float, Array]]


def arm_contract(limits: dict[str, dict[str, object]]) -> RobotContract:
    """One trajectory controller for all of these joints."""
    joints = list(limits)
    return parse_contract(
        {
            "robot": "benchmark",
            "action_dt": DT,
            "joints": limits,
            "groups": {"arm": {"joints": joints}},
            "cameras": {"front": {"topic": "front", "rate": 30.0}},
            "joint_states": [{"topic": "joint_states"}],
            "controllers": [{"name": "arm", "joints": joints}],
        }
    )


#: s: of the synthetic motion, and over the last of which it slows down.
_MOTION, _STOPPING = 6.0, 1.0


def sways(t: Array | float) -> Array:
    """[..., 3] rad at t s; slows down over the last second and then stands."""
    t = np.asarray(t, dtype=np.float64)
    late = np.clip(t - (_MOTION - _STOPPING), 0.0, _STOPPING)
    along = np.minimum(t, _MOTION - _STOPPING) + late - late**2 / (2.0 * _STOPPING)
    turn = 2 * np.pi * along
    third = 0.5 * np.sin(0.2 * turn - 0.4) + 0.15 * np.sin(0.8 * turn)
    return np.stack([0.6 * np.sin(0.3 * turn), 0.4 * np.sin(0.45 * turn + 0.7), third], axis=-1)


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
    """The arm joints of the recording; the gripper is not blended and not of interest."""
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
        # The first chunk is alone at first: it counts from its start.
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
