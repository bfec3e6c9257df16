"""Pictures of the scene, in software, without a display."""

import threading

import mujoco
import numpy as np
from numpy.typing import ArrayLike, NDArray


class CameraRenderer:
    """Draws the cameras of a model; usable from the thread that made it alone.

    It reads nothing of a running simulation but the scene it is given. Shadows cost 5 ms more
    per 640x480 picture in software and are off by default; reflections are off always.
    """

    def __init__(
        self, model: mujoco.MjModel, width: int = 640, height: int = 480, *, shadows: bool = False
    ) -> None:
        self._thread = threading.get_ident()
        self._model = model
        self._data = mujoco.MjData(model)
        model.vis.global_.offwidth, model.vis.global_.offheight = width, height
        self._renderer = mujoco.Renderer(model, height, width)
        self._renderer.scene.flags[mujoco.mjtRndFlag.mjRND_SHADOW] = shadows
        self._renderer.scene.flags[mujoco.mjtRndFlag.mjRND_REFLECTION] = False
        self.width = width
        self.height = height

    def render(self, scene: ArrayLike, camera: str) -> NDArray[np.uint8]:
        """Uint8 RGB [height, width, 3], a fresh array; `scene` is SimulatedArm.scene.

        Raises:
            RuntimeError: called from another thread, whose GL context this is not.

        """
        self._own_thread("render")
        self._data.qpos[:] = scene
        mujoco.mj_kinematics(self._model, self._data)
        mujoco.mj_camlight(self._model, self._data)
        self._renderer.update_scene(self._data, camera)
        return self._renderer.render()

    def close(self) -> None:
        """Free the context; more calls do nothing."""
        self._own_thread("close")
        self._renderer.close()

    def _own_thread(self, what: str) -> None:
        if threading.get_ident() != self._thread:
            raise RuntimeError(
                f"{what}() was called from another thread than the one that made the renderer; "
                "a GL context belongs to one thread: make a renderer there"
            )

    def __enter__(self) -> "CameraRenderer":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
