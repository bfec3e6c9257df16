# SPDX-License-Identifier: Apache-2.0
"""Chunks through the executor into the ported joint_trajectory_controller, servo lag included."""

import numpy as np
import pytest
from support.control_bench import ARM, DT, EPOCH_NS, Bench, contract, sway, sway_chunk

from groot_ros.control import ExecutorConfig, JointTrajectory
from groot_ros.sim.controllers import RULES, TrajectoryController
from groot_ros.sim.trajectory import TrajectoryMessage, TrajectoryPoint

PERIOD = 0.004
LAG = 0.05
DELIVERY = 0.002


def message(trajectory: JointTrajectory) -> TrajectoryMessage:
    rows = zip(trajectory.offsets_ns, trajectory.positions, trajectory.velocities, strict=True)
    return TrajectoryMessage(
        trajectory.stamp_ns,
        trajectory.joint_names,
        [TrajectoryPoint(int(t), p, v) for t, p, v in rows],
    )


def commands(distro: str, spread: float, jitter: float) -> tuple[np.ndarray, np.ndarray]:
    """Return times and commands [T, 3] of a 4.5 s run at 250 Hz with a policy 100 ms late."""
    rng = np.random.default_rng(0)
    bench = Bench(ExecutorConfig(max_start_jump=2.0), contract(acceleration=60.0))
    bench.follows = False
    controller = TrajectoryController(tuple(reversed(ARM)), RULES[distro], PERIOD)
    chunks = [(t + 0.1 + rng.uniform(-jitter, jitter), t) for t in np.arange(0, 4.3, 0.2)]
    servo = sway(0.0)
    times, out = [], []
    for k in range(1125):
        t = k * PERIOD
        bench.measured = servo
        if k % 3 == 0:
            bench.t = t
            bench.observe()
            if chunks and chunks[0][0] <= t:
                assert (
                    bench.give(sway_chunk(chunks.pop(0)[1], offset=rng.normal() * spread)) is None
                )
            bench.tick()
        while bench.updates and bench.updates[0][0] + DELIVERY <= t:
            trajectory = bench.updates.pop(0)[1].trajectories[0]
            controller.accept(message(trajectory), EPOCH_NS + round(t * 1e9))
        command = controller.update(EPOCH_NS + round(t * 1e9), servo[2::-1], np.zeros(3))
        servo = servo.copy()
        servo[:3] += (command[::-1] - servo[:3]) * PERIOD / LAG
        times.append(t + (PERIOD if RULES[distro].look_ahead else 0.0))
        out.append(command[::-1])
    after_start = np.array(times) > 1.2
    return np.array(times)[after_start], np.array(out)[after_start]


def acceleration(positions: np.ndarray) -> float:
    return float(np.percentile(np.abs(np.diff(positions, 2, axis=0)) / PERIOD**2, 99.5))


@pytest.mark.parametrize("distro", ["jazzy", "humble"])
@pytest.mark.parametrize("jitter", [0.0, 0.04])
def test_consistent_chunks_become_the_intended_motion_without_added_acceleration(distro, jitter):
    t, positions = commands(distro, spread=0.0, jitter=jitter)
    intended = sway(t)[:, :3]
    assert np.sqrt(((positions - intended) ** 2).mean()) < 1e-4
    assert acceleration(positions) < 1.05 * acceleration(intended)


@pytest.mark.parametrize("distro", ["jazzy", "humble"])
def test_inconsistent_chunks_become_smooth_motion(distro):
    t, positions = commands(distro, spread=0.02, jitter=0.04)
    # Blending adds at most 3 rad/s2 unless its longest window is too short for that.
    assert acceleration(positions) < acceleration(sway(t)[:, :3]) + 3.5
    assert np.abs(np.diff(positions, axis=0)).max() < 0.006
    assert np.abs(positions - sway(t)[:, :3]).max() < 0.08


def test_the_last_message_alone_brings_the_robot_to_rest():
    bench = Bench()
    bench.stream(0.6)
    controller = TrajectoryController(tuple(reversed(ARM)), RULES["jazzy"], PERIOD)
    controller.accept(message(bench.updates[-1][1].trajectories[0]), bench.now_ns)
    out = [
        controller.update(bench.now_ns + round(k * PERIOD * 1e9), np.zeros(3), np.zeros(3))
        for k in range(250)
    ]
    steps = np.abs(np.diff(out, axis=0)).max(axis=1)
    assert steps[:10].min() > 1e-3
    assert steps[int((0.3 + DT + 0.3) / PERIOD) :].max() == 0.0
    assert acceleration(np.array(out)) < 15.0
