# SPDX-License-Identifier: Apache-2.0
"""Camera images of the scene without a display, and a thread that renders them."""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import mujoco
import numpy as np
from numpy.typing import ArrayLike, NDArray

#: Receives (camera, stamp in ns, uint8 RGB [height, width, 3]) in the rendering thread.
FrameSink = Callable[[str, int, NDArray[np.uint8]], None]
#: Receives (camera, stamp in ns, labels [height, width]) in the rendering thread.
LabelSink = Callable[[str, int, NDArray[np.uint16]], None]
#: Largest group of geoms that are drawn.
_DRAWN_GROUPS = 2


def object_labels(model: mujoco.MjModel) -> NDArray[np.uint16]:
    """Return the label of each geom: a number from 1 for each loose object that is drawn, else 0.

    A loose object is a body that a free joint moves.
    """
    labels = np.zeros(model.ngeom, np.uint16)
    loose = np.flatnonzero(model.jnt_type == mujoco.mjtJoint.mjJNT_FREE)
    for number, body in enumerate(model.jnt_bodyid[loose], start=1):
        labels[model.body_rootid[model.geom_bodyid] == body] = number
    labels[model.geom_group > _DRAWN_GROUPS] = 0
    return labels


class CameraRenderer:
    """Renderer of a model's cameras, usable only in the thread that created it.

    It reads only the scene that it is given, not the running simulation. Shadows cost 5 ms more
    per 640x480 image in software and are off by default; reflections are always off.
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
        """Return a new image, uint8 RGB [height, width, 3]; `scene` is SimulatedArm.scene.

        Raises:
            RuntimeError: called in another thread than the one that owns the GL context.

        """
        self._check_thread("render")
        self._show(scene, camera)
        return self._renderer.render()

    def render_labels(
        self, scene: ArrayLike, camera: str, labels: NDArray[np.uint16]
    ) -> NDArray[np.uint16]:
        """Return the label of what each pixel shows, [height, width]; 0 where nothing is drawn.

        Args:
            scene: SimulatedArm.scene.
            camera: name of the camera.
            labels: label of each geom of the model, [ngeom].

        Raises:
            RuntimeError: as `render`.

        """
        self._check_thread("render_labels")
        self._show(scene, camera)
        self._renderer.enable_segmentation_rendering()
        try:
            numbers, kinds = np.moveaxis(self._renderer.render(), -1, 0)
        finally:
            self._renderer.disable_segmentation_rendering()
        # An enumerator would be compared with each pixel in Python.
        is_geom = kinds == int(mujoco.mjtObj.mjOBJ_GEOM)
        return np.where(is_geom, labels[np.where(is_geom, numbers, 0)], np.uint16(0))

    def _show(self, scene: ArrayLike, camera: str) -> None:
        self._data.qpos[:] = scene
        mujoco.mj_kinematics(self._model, self._data)
        mujoco.mj_camlight(self._model, self._data)
        self._renderer.update_scene(self._data, camera)

    def close(self) -> None:
        """Free the GL context; later calls do nothing."""
        self._check_thread("close")
        self._renderer.close()

    def _check_thread(self, method: str) -> None:
        if threading.get_ident() != self._thread:
            raise RuntimeError(
                f"{method}() was called in another thread than the one that created the renderer; "
                "a GL context belongs to one thread: create a renderer in each thread"
            )

    def __enter__(self) -> "CameraRenderer":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@dataclass(frozen=True)
class _Request:
    stamp_ns: int
    scene: NDArray[np.float64]
    cameras: tuple[str, ...]


class FrameThread:
    """Thread that renders the newest scene; of scenes offered meanwhile only the last is kept."""

    def __init__(
        self,
        model: mujoco.MjModel,
        cameras: Sequence[str],
        size: tuple[int, int],
        sink: FrameSink,
        label_sinks: Mapping[str, LabelSink] | None = None,
    ) -> None:
        """Start the thread.

        Args:
            model: the model.
            cameras: names of its cameras.
            size: (width, height) of the images.
            sink: receives each image.
            label_sinks: camera -> receives the labels of its loose objects, after each image.

        Raises:
            ValueError: the model has no camera of that name.
            Exception: the GL context cannot be created.

        """
        known = [model.camera(i).name for i in range(model.ncam)]
        for camera in cameras:
            if camera not in known:
                raise ValueError(
                    f"the simulated robot has no camera '{camera}' (it has: {', '.join(known)})"
                )
        self._model, self._size, self._sink = model, size, sink
        self._label_sinks = dict(label_sinks or {})
        self._wake = threading.Condition()
        self._waiting: _Request | None = None
        self._rendering = False
        self._stopped = False
        self._ready = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="frames", daemon=True)
        self._thread.start()
        self._ready.wait()
        self._raise_error()

    def offer(self, stamp_ns: int, scene: NDArray[np.float64], cameras: Sequence[str]) -> None:
        """Request images of these cameras; re-raises an exception of the thread."""
        self._raise_error()
        with self._wake:
            self._waiting = _Request(stamp_ns, scene, tuple(cameras))
            self._wake.notify_all()

    def finish(self) -> None:
        """Wait until every pending request is rendered and passed to the sink."""
        with self._wake:
            self._wake.wait_for(
                lambda: self._stopped or (self._waiting is None and not self._rendering)
            )
        self._raise_error()

    def close(self) -> None:
        """Stop after the image being rendered; later calls do nothing."""
        with self._wake:
            self._stopped = True
            self._wake.notify_all()
        self._thread.join()

    def _raise_error(self) -> None:
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        try:
            with CameraRenderer(self._model, *self._size) as renderer:
                self._ready.set()
                while (request := self._next()) is not None:
                    for camera in request.cameras:
                        scene, stamp = request.scene, request.stamp_ns
                        self._sink(camera, stamp, renderer.render(scene, camera))
                        if (sink := self._label_sinks.get(camera)) is not None:
                            # Which objects are drawn changes with the scene.
                            labels = object_labels(self._model)
                            sink(camera, stamp, renderer.render_labels(scene, camera, labels))
        except BaseException as error:
            self._error = error
        finally:
            self._ready.set()
            with self._wake:
                self._stopped = True
                self._rendering = False
                self._wake.notify_all()

    def _next(self) -> _Request | None:
        with self._wake:
            self._rendering = False
            self._wake.notify_all()
            self._wake.wait_for(lambda: self._stopped or self._waiting is not None)
            if self._stopped:
                return None
            request, self._waiting = self._waiting, None
            self._rendering = True
            return request
