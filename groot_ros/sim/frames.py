"""Pictures drawn beside the physics, in a thread with its own GL context."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import mujoco
import numpy as np
from numpy.typing import NDArray

from groot_ros.sim.camera import CameraRenderer

#: Takes (camera, instant in ns, uint8 RGB [height, width, 3]), in the drawing thread.
FrameSink = Callable[[str, int, NDArray[np.uint8]], None]


@dataclass(frozen=True)
class _Shot:
    stamp_ns: int
    scene: NDArray[np.float64]
    cameras: tuple[str, ...]


class FrameThread:
    """Draws the newest scene offered; one that comes while it draws waits, an older is dropped."""

    def __init__(
        self,
        model: mujoco.MjModel,
        cameras: Sequence[str],
        size: tuple[int, int],
        sink: FrameSink,
    ) -> None:
        """Start the thread; `size` is (width, height).

        Raises:
            ValueError: the model has no camera of that name.
            Exception: whatever making the GL context raises.

        """
        known = [model.camera(i).name for i in range(model.ncam)]
        for camera in cameras:
            if camera not in known:
                raise ValueError(
                    f"the simulated robot has no camera '{camera}' (it has: {', '.join(known)})"
                )
        self._model, self._size, self._sink = model, size, sink
        self._wake = threading.Condition()
        self._waiting: _Shot | None = None
        self._drawing = False
        self._stopped = False
        self._ready = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="frames", daemon=True)
        self._thread.start()
        self._ready.wait()
        self._raise_error()

    def offer(self, stamp_ns: int, scene: NDArray[np.float64], cameras: Sequence[str]) -> None:
        """Have these cameras drawn; raises what went wrong in the thread, if anything did."""
        self._raise_error()
        with self._wake:
            self._waiting = _Shot(stamp_ns, scene, tuple(cameras))
            self._wake.notify_all()

    def finish(self) -> None:
        """Wait until all that was offered is drawn and handed on."""
        with self._wake:
            self._wake.wait_for(
                lambda: self._stopped or (self._waiting is None and not self._drawing)
            )
        self._raise_error()

    def close(self) -> None:
        """Stop after the picture being drawn; more calls do nothing."""
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
                while (shot := self._next()) is not None:
                    for camera in shot.cameras:
                        self._sink(camera, shot.stamp_ns, renderer.render(shot.scene, camera))
        except BaseException as error:
            self._error = error
        finally:
            self._ready.set()
            with self._wake:
                self._stopped = True
                self._drawing = False
                self._wake.notify_all()

    def _next(self) -> _Shot | None:
        with self._wake:
            self._drawing = False
            self._wake.notify_all()
            self._wake.wait_for(lambda: self._stopped or self._waiting is not None)
            if self._stopped:
                return None
            shot, self._waiting = self._waiting, None
            self._drawing = True
            return shot
