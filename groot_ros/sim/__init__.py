"""A simulated arm to drive instead of a real one: physics, controllers, cameras, task, expert.

`headless` must have chosen how to draw before mujoco is imported, hence the order here.
"""

from groot_ros.sim.headless import choose_gl_backend

choose_gl_backend()

from groot_ros.sim.arm import SimulatedArm  # noqa: E402
from groot_ros.sim.camera import CameraRenderer  # noqa: E402
from groot_ros.sim.scene import CUBES, HOME, JOINTS, load_model  # noqa: E402

__all__ = [
    "CUBES",
    "HOME",
    "JOINTS",
    "CameraRenderer",
    "SimulatedArm",
    "choose_gl_backend",
    "load_model",
]
