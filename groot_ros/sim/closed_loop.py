"""A policy drives the simulated arm without ROS, as a simple executor would."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from groot_ros.sim.arm import SimulatedArm
from groot_ros.sim.camera import CameraRenderer
from groot_ros.sim.task import distance_to_cube, instructed_cube, place_cubes

#: (view -> uint8 RGB [H, W, 3], joints [6] rad, instruction) to commands [steps, 6] rad, row i due
#: i * dt after the pictures.
ChunkPolicy = Callable[
    [Mapping[str, NDArray[np.uint8]], NDArray[np.float64], str], NDArray[np.float64]
]


@dataclass(frozen=True)
class Leg:
    """One instruction's worth of motion.

    Attributes:
        distance: at the end, from the grasp point to the middle of the cube's top, m; NaN when
            the instruction names no cube.
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
) -> list[Leg]:
    """From home, each instruction for `seconds` s.

    A new chunk is asked for every `interval` s and takes over `latency` s after its pictures,
    the difference to the former one faded out over `blend` s. Time stands still meanwhile.

    Args:
        policy: see ChunkPolicy.
        instructions: in their order.
        views: cameras that the policy sees.
        seconds: per instruction, to the nearest multiple of `interval`.
        interval: s between chunks, a whole multiple of the control period.
        latency: s between the pictures and the chunk's taking over.
        blend: s of fading.
        dt: s between the rows of a chunk.
        seed: of the cubes' places.

    """
    arm = SimulatedArm()
    arm.reset(cubes=place_cubes(np.random.default_rng(seed)))
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
            colour = instructed_cube(instruction)
            distance = (
                distance_to_cube(arm.grasp_point, arm.cubes, colour) if colour else float("nan")
            )
            legs.append(Leg(instruction, distance, high - low))
    return legs


def _at(chunk: NDArray[np.float64], step: float) -> NDArray[np.float64]:
    """Between the rows, linearly; the last row afterwards."""
    row = min(int(step), len(chunk) - 2)
    share = min(step - row, 1.0)
    return (1.0 - share) * chunk[row] + share * chunk[row + 1]
