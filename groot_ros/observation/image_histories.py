"""The cameras' recent frames, and which of them an observation takes."""

from collections.abc import Callable, Mapping, Sequence
from math import ceil

import numpy as np
from numpy.typing import NDArray

from groot_ros.core import NS_PER_S, ns_to_s, s_to_ns
from groot_ros.observation.history import History
from groot_ros.observation.image_set import synchronised_frames
from groot_ros.observation.rejections import Rejected
from groot_ros.observation.spec import SyncTolerances
from groot_ros.robot import Camera

#: Gives uint8 RGB [H, W, 3], or raises MalformedError.
Pixels = Callable[[], NDArray[np.uint8]]


#: On a side; what is smaller is no camera's picture.
_FEWEST_PIXELS = 16


class ImageHistories:
    """Frames by camera and stamp; a frame stays undecoded until an observation uses it.

    Args:
        cameras: the views wanted.
        deltas: steps of `dt_ns` relative to t_obs, oldest first, the last one 0.

    """

    def __init__(
        self,
        cameras: Mapping[str, Camera],
        deltas: Sequence[int],
        dt_ns: int,
        tolerances: SyncTolerances,
    ) -> None:
        self._cameras = cameras
        self._deltas = deltas
        self._dt_ns = dt_ns
        self._frames = {
            view: History[Pixels](*self._bounds(camera, tolerances))
            for view, camera in cameras.items()
        }

    def keep(self, tolerances: SyncTolerances) -> None:
        """Keep frames for as long as they can be of use under new tolerances."""
        for view, frames in self._frames.items():
            frames.span_ns, frames.capacity = self._bounds(self._cameras[view], tolerances)

    def add(self, view: str, stamp_ns: int, pixels: Pixels) -> None:
        """One frame of one camera, by the moment of its exposure."""
        self._frames[view].add(stamp_ns, pixels)

    def choose(self, now_ns: int, tolerances: SyncTolerances) -> dict[str, list[int]]:
        """View -> stamps of the frames at every delta, oldest first.

        t_obs is the oldest of the last ones.

        Raises:
            Rejected: missing_image, stale_image, skewed_images, missing_history.

        """
        latest = self._choose_latest(now_ns, tolerances)
        t_obs = min(latest.values())
        return {
            view: [*self._choose_earlier(view, t_obs, tolerances.max_image_skew), stamp]
            for view, stamp in latest.items()
        }

    def pixels(self, view: str, stamp_ns: int) -> Pixels:
        """The frame of exactly this stamp."""
        return self._frames[view].at(stamp_ns)

    def forget_after(self, stamp_ns: int) -> None:
        """Forget frames newer than this."""
        for frames in self._frames.values():
            frames.forget_after(stamp_ns)

    def clear(self) -> None:
        """Forget every frame."""
        for frames in self._frames.values():
            frames.clear()

    def _choose_latest(self, now_ns: int, tolerances: SyncTolerances) -> dict[str, int]:
        ages = {}
        for view, frames in self._frames.items():
            if not frames:
                raise Rejected("missing_image", f"nothing received from camera '{view}'")
            ages[view] = ns_to_s(now_ns - frames.newest)
        oldest = max(ages, key=lambda view: ages[view])
        limit, skew = tolerances.max_image_age, tolerances.max_image_skew
        if ages[oldest] > limit:
            raise Rejected(
                "stale_image",
                f"the newest image of camera '{oldest}' is {ages[oldest]:.3f} s old "
                f"(max_image_age {limit:g} s)",
            )
        chosen = synchronised_frames({v: f.stamps for v, f in self._frames.items()}, s_to_ns(skew))
        if chosen is None or now_ns - min(chosen.values()) > s_to_ns(limit):
            newest = min(ages, key=lambda view: ages[view])
            raise Rejected(
                "skewed_images",
                f"camera '{oldest}' is {ages[oldest] - ages[newest]:.3f} s behind camera "
                f"'{newest}', and no frames younger than {limit:g} s agree "
                f"(max_image_skew {skew:g} s)",
            )
        return chosen

    def _choose_earlier(self, view: str, t_obs: int, tolerance: float) -> list[int]:
        stamps = []
        for delta in self._deltas[:-1]:
            target = t_obs + delta * self._dt_ns
            nearest = self._frames[view].nearest(target)
            if nearest is None or abs(nearest - target) > s_to_ns(tolerance):
                raise Rejected(
                    "missing_history",
                    f"camera '{view}' has no frame {ns_to_s(t_obs - target):.3f} s before t_obs",
                )
            stamps.append(nearest)
        return stamps

    def _bounds(self, camera: Camera, tolerances: SyncTolerances) -> tuple[int, int]:
        t = tolerances
        history = -self._deltas[0] * self._dt_ns
        span = history + s_to_ns(t.max_image_age + t.max_image_skew + t.max_future)
        # Twice the promised rate: memory stays bounded when a camera runs away.
        return span, ceil(2 * camera.rate * span / NS_PER_S) + 2


class FrameSizes:
    """What size the frames of each camera have: the first of a run decides."""

    def __init__(self) -> None:
        self._sizes: dict[str, tuple[int, int]] = {}

    def stack(self, view: str, frames: Sequence[Pixels]) -> NDArray[np.uint8]:
        """uint8 [T, H, W, 3]; a single frame stays in its own memory.

        Raises:
            Rejected: image_too_small, image_size_changed.
            MalformedError: a frame cannot be decoded.

        """
        arrays = [frame() for frame in frames]
        for array in arrays:
            self._check(view, array.shape[1], array.shape[0])
        return arrays[0][None] if len(arrays) == 1 else np.stack(arrays)

    def _check(self, view: str, width: int, height: int) -> None:
        if min(width, height) < _FEWEST_PIXELS:
            raise Rejected(
                "image_too_small",
                f"camera '{view}' sends {width} x {height} pixels, at least "
                f"{_FEWEST_PIXELS} x {_FEWEST_PIXELS} show something",
            )
        first = self._sizes.setdefault(view, (width, height))
        if (width, height) != first:
            raise Rejected(
                "image_size_changed",
                f"camera '{view}' sends {width} x {height} pixels, it began with {first[0]} x "
                f"{first[1]}: configure the policy anew if this is meant",
            )
