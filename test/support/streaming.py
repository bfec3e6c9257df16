# SPDX-License-Identifier: Apache-2.0
"""Drives a TrajectoryController as a policy's executor would: a smooth motion in chunks.

The set-up of the measurement on the real controller: three joints, 250 Hz, chunks of 16 steps at
30 Hz every 0.2 s that tell the truth, published 0.1 s after what they are anchored to.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from groot_ros.core import s_to_ns
from groot_ros.sim.controllers import RULES, ControllerRules, TrajectoryController
from groot_ros.sim.trajectory import TrajectoryMessage, TrajectoryPoint, TrajectoryRejected

JOINTS = ("j1", "j2", "j3")
PERIOD = 0.004
DT = 1 / 30
HORIZON = 16
#: The clock does not begin at 0: controllers treat a zero stamp as "now".
EPOCH_NS = 1_000_000_000_000


def intended(t):
    """[..., 3] rad at t s."""
    t = np.asarray(t, dtype=np.float64)
    turn = 2 * np.pi * t
    return np.stack(
        [
            0.6 * np.sin(0.3 * turn),
            0.4 * np.sin(0.45 * turn + 0.7),
            0.5 * np.sin(0.2 * turn - 0.4) + 0.15 * np.sin(0.8 * turn),
        ],
        axis=-1,
    )


def message(stamp, times, positions, velocities=None):
    """Stamp in s (None: zero) and knots at `times` s after it."""
    rows = [()] * len(times) if velocities is None else velocities
    points = [
        TrajectoryPoint(s_to_ns(t), tuple(p), tuple(v))
        for t, p, v in zip(times, positions, rows, strict=True)
    ]
    stamp_ns = 0 if stamp is None else EPOCH_NS + s_to_ns(stamp)
    return TrajectoryMessage(stamp_ns, JOINTS, points)


def knots(t_obs):
    """Times [16] of a chunk's steps, its positions [16, 3], velocities by central differences."""
    times = t_obs + DT * np.arange(HORIZON)
    around = intended(t_obs + DT * np.arange(-1, HORIZON + 1))
    return times, around[1:-1], (around[2:] - around[:-2]) / (2 * DT)


def with_rest_tail(times, positions, velocities, duration=0.3):
    """One knot more, at rest after a constant deceleration."""
    stop = positions[-1] + velocities[-1] * duration / 2
    return (
        np.append(times, times[-1] + duration),
        np.vstack([positions, stop]),
        np.vstack([velocities, np.zeros(3)]),
    )


@dataclass(frozen=True)
class Stream:
    """Commands [cycles, 3] of a run, what each should have been, and the messages rejected."""

    times: np.ndarray
    commands: np.ndarray
    intended: np.ndarray
    rejected: list[str]

    def window(self, start=1.5, end=4.95):
        return (self.times >= start) & (self.times <= end)

    @property
    def rms(self):
        """Rad, against the motion intended."""
        rows = self.window()
        return float(np.sqrt(np.mean((self.commands - self.intended)[rows] ** 2)))

    @property
    def acceleration_ratio(self):
        """p99.5 of |acceleration|, as a multiple of the motion's own."""
        rows = self.window()

        def p995(values):
            return np.percentile(np.abs(np.diff(values, n=2, axis=0)) / PERIOD**2, 99.5)

        return float(p995(self.commands[rows]) / p995(self.intended[rows]))

    @property
    def excess_step(self):
        """Largest |command step - intended step| in one cycle, rad."""
        rows = self.window()
        steps = np.diff(self.commands[rows], axis=0) - np.diff(self.intended[rows], axis=0)
        return float(np.abs(steps).max())


def stream(
    style: Callable[[float, float], TrajectoryMessage],
    *,
    rules: ControllerRules = RULES["jazzy"],
    lag: float = 0.0,
    latency: float = 0.1,
    until: float = 5.0,
    silent_after: float = 1e9,
) -> Stream:
    """Run `style(t_obs, now) -> message` for `until` s; a lag of 0 is a robot that mirrors."""
    controller = TrajectoryController(JOINTS, rules, PERIOD)
    position, velocity = intended(0.0), np.zeros(3)
    times, commands, rejected = [], [], []
    next_obs = 0.0
    for cycle in range(round(until / PERIOD)):
        now = cycle * PERIOD
        if now >= next_obs + latency and next_obs < silent_after:
            try:
                controller.accept(style(next_obs, now), EPOCH_NS + s_to_ns(now))
            except TrajectoryRejected as rejection:
                rejected.append(str(rejection))
            next_obs += 0.2
        command = controller.update(EPOCH_NS + s_to_ns(now), position, velocity)
        times.append(now)
        commands.append(command)
        former = position
        decay = np.exp(-PERIOD / lag) if lag else 0.0
        position = command + (position - command) * decay
        velocity = (position - former) / PERIOD
    ahead = PERIOD if rules.look_ahead else 0.0
    stamps = np.array(times)
    return Stream(stamps, np.array(commands), intended(stamps + ahead), rejected)
