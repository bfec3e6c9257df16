# SPDX-License-Identifier: Apache-2.0
"""Simulated robot, renderer and policy of a process, made once; seeds of episodes."""

import atexit
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np

from groot_ros.core import NS_PER_S, PolicyConfig
from groot_ros.core.share import robot_path
from groot_ros.observation.spec import ObservationSpec
from groot_ros.robot import RobotContract, load_contract
from groot_ros.rollout.closed_loop import LoopPolicy
from groot_ros.sim.camera import CameraRenderer
from groot_ros.sim.disturbance import Disturbance, DisturbanceSettings
from groot_ros.sim.robot import SimulatedRobot
from groot_ros.sim.table import Scene
from groot_ros.sim.table_task import TableTask

#: Start of an episode; not 0, which is no valid stamp.
START_NS = NS_PER_S
#: Purposes of an episode, part of its seed: no scene that is collected is ever evaluated.
COLLECTED, EVALUATED = 0, 1
#: Scenes that are tried for one episode before it is given up.
ATTEMPTS = 5


def episode_rng(seed: int, index: int, purpose: int, attempt: int = 0) -> np.random.Generator:
    """Return the random numbers of an episode."""
    return np.random.default_rng([seed, index, purpose, attempt])


def collected_scene(
    task: TableTask, seed: int, index: int, attempt: int, disturbances: DisturbanceSettings
) -> tuple[Scene, Disturbance, np.random.Generator]:
    """Return scene and disturbance of a recorded episode, and the rest of its random numbers.

    Args:
        task: the task.
        seed: attempt k of episode i is the same for the same seed.
        index: number of the episode.
        attempt: number of the scene, from 0; the expert failed in those before.
        disturbances: how much the episode is disturbed.

    """
    rng = episode_rng(seed, index, COLLECTED, attempt)
    scene = task.scene(rng)
    return scene, Disturbance(disturbances, scene, rng), rng


def evaluation_scene(task: TableTask, seed: int, index: int, camera_shift: float = 0.0) -> Scene:
    """Return the scene of an evaluated episode.

    Args:
        task: the task.
        seed: scene i is the same for the same seed, and never one that was collected.
        index: number of the episode.
        camera_shift: distance by which each camera is moved in a direction of the scene, m.

    """
    rng = episode_rng(seed, index, EVALUATED)
    scene = task.scene(rng)
    if not camera_shift:
        return scene
    shift = {}
    for camera, own in scene.look.shift.items():
        direction = rng.normal(size=3)
        shift[camera] = own + camera_shift * direction / np.linalg.norm(direction)
    return replace(scene, look=replace(scene.look, shift=shift))


def noise_seed(seed: int, index: int) -> int:
    """Return the seed of a policy's noise, and of lost frames, in an evaluated episode."""
    return int(episode_rng(seed, index, EVALUATED, 1).integers(2**31))


@lru_cache(maxsize=2)
def simulator(
    robot: str, size: tuple[int, int]
) -> tuple[RobotContract, SimulatedRobot, CameraRenderer]:
    """Return contract, simulated robot and renderer of images of (width, height)."""
    contract = load_contract(robot_path(robot))
    simulated = SimulatedRobot(contract, START_NS)
    renderer = CameraRenderer(simulated.model, *size)
    # While the interpreter ends, the GL context could no longer be freed.
    atexit.register(renderer.close)
    return contract, simulated, renderer


def check_policy(checkpoint: str, robot: str, options: Mapping[str, Any]) -> None:
    """Raise ValueError if a checkpoint does not fit a robot; reads no weights.

    Episodes run in other processes, where the same error would appear once for each of them.
    """
    from groot_ros.policy.loading import open_checkpoint

    config = PolicyConfig(checkpoint=checkpoint, robot=robot, **options)
    open_checkpoint(config, load_contract(robot_path(robot)))


@lru_cache(maxsize=2)
def loop_policy(
    checkpoint: str, robot: str, options: tuple[tuple[str, Any], ...]
) -> tuple[LoopPolicy, ObservationSpec]:
    """Load a checkpoint for a robot; `options` are fields of PolicyConfig with their values.

    Raises:
        ValueError: the checkpoint does not fit the robot, or an option is wrong.

    """
    from groot_ros.policy import load_policy
    from groot_ros.policy.loading import set_threads

    config = PolicyConfig(checkpoint=checkpoint, robot=robot, **dict(options))
    set_threads(config)
    policy = load_policy(config, robot=load_contract(robot_path(robot)))
    return policy, ObservationSpec.of_policy(policy.spec)
