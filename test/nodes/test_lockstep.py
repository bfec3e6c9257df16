# SPDX-License-Identifier: Apache-2.0
"""The nodes in lockstep move the robot as the closed loop in one process does."""

from collections.abc import Iterator

import numpy as np
import pytest
import rclpy
import yaml
from numpy.typing import NDArray

from groot_ros.core.share import demo_checkpoint
from groot_ros.nodes.lockstep_node import Lockstep
from groot_ros.rollout.closed_loop import ClosedLoop, LoopSettings
from groot_ros.rollout.simulation import (
    START_NS,
    evaluation_scene,
    loop_policy,
    noise_seed,
    simulator,
)
from groot_ros.sim.table import ROBOT
from groot_ros.sim.tasks import load_table_task

DEMO = str(demo_checkpoint())
TASK, SIZE, SEED = load_table_task("reach"), (64, 48), 3
#: Control periods, 4 ms each: an inference at the start, and one whose chunk is blended in.
CYCLES = 90


def parameters(loop: LoopSettings) -> dict:
    shared = {"robot": ROBOT, "use_sim_time": True}
    return {
        "policy_node": {
            **shared,
            "checkpoint": DEMO,
            "device": "cpu",
            "torch_threads": 1,
            "camera_shift_action": "off",
            "rate_hz": loop.rate_hz,
            "added_delay": loop.delay,
        },
        "executor_node": {**shared, "discovery_timeout": 0.0, "clock_timeout": 3600.0},
        "sim_robot_node": {
            "robot": ROBOT,
            "publish_clock": True,
            "image_width": SIZE[0],
            "image_height": SIZE[1],
            "camera_dropout": loop.camera_dropout,
            "joint_offset": loop.joint_offset,
        },
    }


@pytest.fixture
def lockstep(request, ros_domain, tmp_path) -> Iterator[Lockstep]:
    file = tmp_path / "parameters.yaml"
    own = {f"/**/{n}": {"ros__parameters": p} for n, p in parameters(request.param).items()}
    file.write_text(yaml.safe_dump(own))
    rclpy.init(args=["--ros-args", "--params-file", str(file)])
    try:
        with Lockstep() as lockstep:
            yield lockstep
    finally:
        rclpy.try_shutdown()


def direct_path(loop: LoopSettings, index: int, seed: int) -> NDArray[np.float64]:
    """Return the joint path [CYCLES, 6], rad, without nodes; `seed` is that of the noise."""
    contract, robot, renderer = simulator(TASK.robot, SIZE)
    scene = evaluation_scene(TASK, SEED, index)
    robot.jump_to(START_NS)
    robot.reset(scene.apply)
    policy, spec = loop_policy(DEMO, TASK.robot, (("device", "cpu"), ("torch_threads", 1)))
    policy.reset()
    closed = ClosedLoop(robot, renderer, contract, policy, spec, scene.instruction, loop, seed)
    path = []
    for _ in range(CYCLES):
        closed.cycle()
        path.append(robot.arm.positions.copy())
    return np.array(path)


def path_of(lockstep: Lockstep, index: int, seed: int) -> NDArray[np.float64]:
    """Return the joint path [CYCLES, 6], rad, through the nodes."""
    lockstep.begin(evaluation_scene(TASK, SEED, index), seed)
    path = []
    for _ in range(CYCLES):
        lockstep.cycle()
        path.append(lockstep.robot.robot.arm.positions.copy())
    lockstep.end()
    return np.array(path)


@pytest.mark.ros
@pytest.mark.slow
@pytest.mark.parametrize("lockstep", [LoopSettings()], indirect=True)
def test_without_delay_joint_paths_are_those_of_the_closed_loop(lockstep):
    for index in range(2):
        seed = noise_seed(SEED, index)
        expected = direct_path(LoopSettings(), index, seed)
        assert np.ptp(expected, axis=0).max() > 0.1
        assert np.abs(path_of(lockstep, index, seed) - expected).max() < 1e-6
        # The comparison can fail: other noise of the policy gives another path.
        assert np.abs(direct_path(LoopSettings(), index, seed + 1) - expected).max() > 1e-5


DISTURBED = LoopSettings(delay=0.2, camera_dropout=0.3, joint_offset=-0.02)


@pytest.mark.ros
@pytest.mark.slow
@pytest.mark.parametrize("lockstep", [DISTURBED], indirect=True)
def test_delay_lost_frames_and_encoder_errors_are_those_of_the_closed_loop(lockstep):
    seed = noise_seed(SEED, 0)
    path, expected = path_of(lockstep, 0, seed), direct_path(DISTURBED, 0, seed)
    assert np.ptp(expected, axis=0).max() > 0.02
    assert np.abs(path - expected).max() < 1e-6
    assert np.abs(expected - direct_path(LoopSettings(), 0, seed)).max() > 0.01
