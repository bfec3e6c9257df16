# SPDX-License-Identifier: Apache-2.0
"""Closed loop without ROS: a policy drives the simulated arm through a simple executor."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from groot_ros.sim.arm import SimulatedArm
from groot_ros.sim.camera import CameraRenderer
from groot_ros.sim.tasks.touch import TASK, TouchTask

#: (view -> uint8 RGB [H, W, 3], joints [6] rad, instruction) to commands [steps, 6] rad; row i is
#: due i * dt after the images.
ChunkPolicy = Callable[
    [Mapping[str, NDArray[np.uint8]], NDArray[np.float64], str], NDArray[np.float64]
]


@dataclass(frozen=True)
class Leg:
    """Motion during one instruction.

    Attributes:
        instruction: the instruction.
        distance: distance from the grasp point to the task's target at the end, m; NaN if the
            instruction has no target.
        travel: range of each joint during the leg, [6] rad.

    """

    instruction: str
    distance: float
    travel: NDArray[np.float64]


def drive(
    policy: ChunkPolicy,
    instructions: Sequence[str],
    *,
    views: Sequence[str] = ("front", "wrist"),
    seconds: float = 5.0,
    interval: float = 0.24,
    latency: float = 0.08,
    dt: float = 1 / 30,
    blend: float = 0.15,
    seed: int = 0,
    task: TouchTask = TASK,
) -> list[Leg]:
    """Run the instructions one after another from home, each for `seconds` s.

    A new chunk is requested every `interval` s and takes effect `latency` s after its images; the
    difference to the former chunk is faded out over `blend` s. Simulated time stops during
    inference.

    Args:
        policy: see ChunkPolicy.
        instructions: in the order of execution.
        views: cameras whose images the policy receives.
        seconds: time per instruction, rounded to a multiple of `interval`.
        interval: s between chunks, a multiple of the control period.
        latency: s between the images and the chunk that takes effect.
        blend: s over which a difference is faded out.
        dt: s between the rows of a chunk.
        seed: seed of the cubes' places.
        task: layout and distances.

    """
    arm = SimulatedArm()
    arm.reset(cubes=task.place_cubes(np.random.default_rng(seed)))
    period = 0.004
    command = arm.positions
    legs = []
    with CameraRenderer(arm.model) as renderer:
        for instruction in instructions:
            low = high = arm.positions
            for _ in range(round(seconds / interval)):
                images = {view: renderer.render(arm.scene, view) for view in views}
                chunk = policy(images, arm.positions, instruction)
                offset = command - _at(chunk, latency / dt)
                for cycle in range(round(interval / period)):
                    elapsed = latency + cycle * period
                    fade = max(0.0, 1.0 - cycle * period / blend)
                    command = _at(chunk, elapsed / dt) + fade * offset
                    arm.command(command)
                    arm.step()
                    low, high = np.minimum(low, arm.positions), np.maximum(high, arm.positions)
            distance = task.distance(instruction, arm.grasp_point, arm.cubes)
            legs.append(Leg(instruction, distance, high - low))
    return legs


def _at(chunk: NDArray[np.float64], step: float) -> NDArray[np.float64]:
    """Interpolate linearly between the rows; after them return the last row."""
    row = min(int(step), len(chunk) - 2)
    share = min(step - row, 1.0)
    return (1.0 - share) * chunk[row] + share * chunk[row + 1]
