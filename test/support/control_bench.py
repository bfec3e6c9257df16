# SPDX-License-Identifier: Apache-2.0
"""Test bench for the executor: a clock, a robot that follows, and all published updates."""

from collections.abc import Sequence

import numpy as np
from hypothesis import strategies as st

from groot_ros.control import Executor, ExecutorConfig, Rejection, Update
from groot_ros.control.curve import Curve, cubic, end_accelerations
from groot_ros.control.limits import Limits
from groot_ros.core import ActionChunk, ActionGroup, ActionKind, ns_to_s, s_to_ns
from groot_ros.robot import RobotContract
from groot_ros.robot.contract import parse_contract

ARM = ("j1", "j2", "j3")
GRIPPER = "finger"
JOINTS = (*ARM, GRIPPER)
#: An arbitrary absolute time, as large as real ones, to expose float rounding.
EPOCH_NS = 1_750_000_000_123_456_789
DT = 1 / 30
TICK = 0.01


def contract(
    *, velocity: float = 3.0, acceleration: float = 15.0, endless: bool = False, **arm: object
) -> RobotContract:
    """Return a contract with three arm joints and a gripper, on two trajectory controllers.

    With `endless`, the first two joints are continuous.
    """
    joint = {"position": [-1.5, 1.5], "velocity": velocity, "acceleration": acceleration}
    turning = {"velocity": velocity, "acceleration": acceleration}
    joints: dict[str, object] = {
        name: {"limits": dict(joint), "gripper": name == GRIPPER} for name in JOINTS
    }
    if endless:
        joints.update({name: {"type": "continuous", "limits": turning} for name in ARM[:2]})
    return parse_contract(
        {
            "version": 2,
            "robot": "bench",
            "action_dt": DT,
            "joints": joints,
            "inputs": {
                "state": {
                    "arm": [{"joint": name} for name in ARM],
                    "gripper": [{"joint": GRIPPER}],
                },
                "sources": {"all": {"topic": "joint_states"}},
            },
            "outputs": {
                "arm": [{"controller": "arm", "joints": list(ARM)}],
                "gripper": [{"controller": "finger", "joints": [GRIPPER]}],
            },
            "cameras": {"front": {"topic": "front", "rate": 30.0}},
            "controllers": [
                {"name": "arm", "joints": list(reversed(ARM)), **arm},
                {"name": "finger", "joints": [GRIPPER]},
            ],
        }
    )


def chunk(values: np.ndarray, at: float, **fields: object) -> ActionChunk:
    """Return a chunk of [H, 4] values observed `at` s after the epoch."""
    stamp = EPOCH_NS + s_to_ns(at)
    groups = (
        ActionGroup(ActionKind.GRIPPER, "gripper", (GRIPPER,), ("rad",), values[:, 3:]),
        ActionGroup(ActionKind.JOINT_POSITION, "arm", ARM, ("rad",) * 3, values[:, :3]),
    )
    plain = {"stamp_ns": stamp, "start_ns": stamp, "dt": DT, "session": "a", "groups": groups}
    return ActionChunk(**{**plain, **fields})


def sway(t: np.ndarray) -> np.ndarray:
    """Return the positions [T, 4] of a slow motion, far within the limits of the bench."""
    t = np.asarray(t, dtype=np.float64)
    phases = (0.0, 0.7, -0.4, 0.2)
    return np.stack([0.3 * np.sin(2 * np.pi * 0.4 * t + p) for p in phases], axis=-1)


def sway_chunk(at: float, steps: int = 16, offset: float = 0.0, **fields: object) -> ActionChunk:
    """Return the chunk of a perfect policy that observes at `at` s."""
    return chunk(sway(at + DT * np.arange(steps)) + offset, at, **fields)


class Bench:
    """Executor and simulated robot; times are in s after the epoch.

    The robot is where it was last commanded to be while `follows`, and joint states are sent while
    `reports`.
    """

    def __init__(
        self,
        settings: ExecutorConfig | None = None,
        robot: RobotContract | None = None,
        start: Sequence[float] | None = None,
        velocity: Sequence[float] = (0.0,) * 4,
    ) -> None:
        self.executor = Executor(robot or contract(), settings)
        self.t = 0.0
        self.measured = np.array(sway(0.0) if start is None else start)
        self.velocity = np.array(velocity)
        self.updates: list[tuple[float, Update]] = []
        self.follows = True
        self.reports = True
        self._ids = 0

    @classmethod
    def streaming(cls) -> "Bench":
        """Return a bench whose robot has moved for 0.6 s."""
        running = cls()
        running.stream(0.6)
        return running

    @property
    def now_ns(self) -> int:
        return EPOCH_NS + s_to_ns(self.t)

    @property
    def active(self) -> Curve:
        """The active trajectory."""
        curve = self.executor.motion.active
        assert curve is not None
        return curve

    @property
    def state(self):
        return self.executor.state(self.now_ns)

    @property
    def speed(self) -> float:
        """Commanded speed of the fastest joint."""
        return float(np.abs(self.active.at(self.now_ns)[1]).max())

    @property
    def at_rest(self) -> bool:
        return self.speed == 0.0

    def standing_chunk(self, **fields: object) -> ActionChunk:
        """Return a chunk that keeps the robot where it is."""
        return chunk(np.tile(self.measured, (16, 1)), self.t, **fields)

    def reference(self, **changed: float) -> dict[str, float]:
        """Return the reference of a controller that follows, with these joints changed."""
        where = self.active.at(self.now_ns)[0].tolist()
        return {**dict(zip(JOINTS, where, strict=True)), **changed}

    def stall(self, seconds: float) -> None:
        """Advance the clock without ticks, then tick once."""
        self.t = round(self.t + seconds, 6)
        self.observe()
        self.tick()

    def observe(self) -> None:
        self.executor.observe(
            self.now_ns, list(JOINTS), self.measured.tolist(), self.velocity.tolist()
        )

    def give(self, item: ActionChunk) -> Rejection | None:
        """Send a chunk, with the next id unless it has one."""
        self._ids += 1
        if item.id == 0:
            object.__setattr__(item, "id", self._ids)
        self.observe()
        rejection = self.executor.receive(item, self.now_ns)
        self.tick()
        return rejection

    def run(self, seconds: float) -> None:
        """Tick for this long."""
        for _ in range(round(seconds / TICK)):
            self.t = round(self.t + TICK, 6)
            if self.reports:
                self.observe()
            self.tick()

    def stream(self, seconds: float, latency: float = 0.1, period: float = 0.2) -> None:
        """Run with a perfect policy that sends a chunk each period."""
        for _ in range(round(seconds / period)):
            assert self.give(sway_chunk(self.t - latency)) is None
            self.run(period)

    def tick(self) -> None:
        update = self.executor.update(self.now_ns)
        if update is not None:
            self.updates.append((self.t, update))
        if self.follows and self.executor.motion.active is not None:
            self.measured, self.velocity = self.active.at(self.now_ns)

    @property
    def limits(self) -> Limits:
        return self.executor.joints.limits


def excess(curve: Curve, limits: Limits, from_ns: int = 0) -> tuple[float, float, float]:
    """Return by how much a curve exceeds position, velocity and acceleration limits, sampled.

    In float64, accelerations of a segment of h s are only known to 1e-15 / h^2.
    """
    keep = curve.times[1:] > from_ns
    h = (np.diff(curve.times)[keep] / 1e9)[:, None]
    p0, v0 = curve.positions[:-1][keep], curve.velocities[:-1][keep]
    p1, v1 = curve.positions[1:][keep], curve.velocities[1:][keep]
    a0, a1 = end_accelerations(p0, v0, p1, v1, h)
    sharpest = np.maximum(np.abs(a0), np.abs(a1)) - limits.acceleration - 4e-15 / h**2
    tau = np.linspace(0.0, 1.0, 33)[:, None, None]
    p, v = cubic(p0, v0, p1, v1, h, tau)
    beyond = np.maximum(p - limits.upper, limits.lower - p)
    return float(beyond.max()), float((np.abs(v) - limits.velocity).max()), float(sharpest.max())


@st.composite
def viable_states(draw: st.DrawFn, limits: Limits) -> tuple[np.ndarray, np.ndarray]:
    """Draw a state from which the robot can stop within its limits, edges included."""
    share = st.floats(-1.0, 1.0)
    n = len(limits.upper)
    v = np.array([draw(share) for _ in range(n)]) * limits.velocity
    stop = np.abs(v) * (np.abs(v) / (2 * limits.acceleration) + 1e-5)
    low = limits.lower + np.where(v < 0, stop, 0.0)
    high = limits.upper - np.where(v > 0, stop, 0.0)
    where = np.array([draw(share) for _ in range(n)]) / 2 + 0.5
    return np.clip(low + where * (high - low), low, high), v


def seconds(ns: int) -> float:
    """Return the time in s after the epoch."""
    return ns_to_s(ns - EPOCH_NS)
