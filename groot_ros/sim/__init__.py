"""The simulated robot: physics, controllers, cameras, tasks and a scripted expert.

The rendering backend must be chosen before mujoco is imported, hence the order here.
"""

from groot_ros.sim.rendering_backend import choose_rendering_backend

choose_rendering_backend()

from groot_ros.sim.arm import CUBES, HOME, JOINTS, SimulatedArm, load_model  # noqa: E402
from groot_ros.sim.camera import CameraRenderer  # noqa: E402

__all__ = [
    "CUBES",
    "HOME",
    "JOINTS",
    "CameraRenderer",
    "SimulatedArm",
    "choose_rendering_backend",
    "load_model",
]
