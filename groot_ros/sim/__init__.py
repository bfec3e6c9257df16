"""A simulated arm to drive instead of a real one: physics, controllers, cameras, task, expert.

`headless` must have chosen how to draw before mujoco is imported, hence the order here.
"""

from groot_ros.sim.rendering_backend import choose_rendering_backend

choose_rendering_backend()

from groot_ros.sim.arm import SimulatedArm  # noqa: E402
from groot_ros.sim.camera import CameraRenderer  # noqa: E402
from groot_ros.sim.scene import CUBES, HOME, JOINTS, load_model  # noqa: E402

__all__ = [
    "CUBES",
    "HOME",
    "JOINTS",
    "CameraRenderer",
    "SimulatedArm",
    "choose_rendering_backend",
    "load_model",
]
