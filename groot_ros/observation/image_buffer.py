# SPDX-License-Identifier: Apache-2.0
"""Recent camera frames, and the choice of the frames that form one observation."""

from bisect import bisect_left
from collections.abc import Callable, Collection, Mapping, Sequence
from math import ceil
from typing import Any

import numpy as np
from numpy.typing import NDArray

from groot_ros.core import NS_PER_S, MalformedError, ns_to_s, other_clock_hint, s_to_ns
from groot_ros.observation.history import History
from groot_ros.observation.rejections import Rejected
from groot_ros.observation.spec import SyncTolerances
from groot_ros.robot import Camera
from groot_ros.vision.labels import LabelDecoder

#: Decodes a frame on demand: uint8 RGB [H, W, 3], or raises MalformedError.
Pixels = Callable[[], NDArray[np.uint8]]

#: Smallest width and height, px; a smaller image is a driver's placeholder.
MIN_SIDE = 16


def synchronised_frames(stamps: Mapping[str, Sequence[int]], skew_ns: int) -> dict[str, int] | None:
    """Return the newest set of frames, one per camera, that lie within `skew_ns` of each other.

    The newest set is the one with the latest t_obs, the stamp of its oldest frame. Each other
    camera contributes its first frame from t_obs on, which gives the smallest skew.

    Args:
        stamps: camera -> stamps, ascending, ns.
        skew_ns: largest difference between the oldest and the newest frame of the set.

    Returns:
        camera -> stamp, or None if there is no such set.

    """
    candidates = sorted({s for own in stamps.values() for s in own}, reverse=True)
    for t_obs in candidates:
        chosen = {}
        for camera, own in stamps.items():
            index = bisect_left(own, t_obs)
            if index == len(own) or own[index] > t_obs + skew_ns:
                break
            chosen[camera] = own[index]
        else:
            return chosen
    return None


class ImageBuffer:
    """Frames by camera and stamp; a frame is decoded only when an observation uses it.

    Args:
        cameras: view -> camera, for the views of the policy.
        deltas: image history in steps of `dt_ns` relative to t_obs, ascending, the last one 0.
        tolerances: determine how long frames are kept.
        labelled: views whose newest frame is used only with labels of the same stamp.

    """

    def __init__(
        self,
        cameras: Mapping[str, Camera],
        deltas: Sequence[int],
        dt_ns: int,
        tolerances: SyncTolerances,
        labelled: Collection[str] = (),
    ) -> None:
        self._cameras = cameras
        self._deltas = deltas
        self._dt_ns = dt_ns
        self._frames = {
            view: History[Pixels](*self._bounds(camera, tolerances))
            for view, camera in cameras.items()
        }
        self._labels = {
            view: History[LabelDecoder](*self._bounds(cameras[view], tolerances))
            for view in labelled
        }

    def set_tolerances(self, tolerances: SyncTolerances) -> None:
        """Keep frames for as long as the new tolerances can use them."""
        for view, frames in self._frames.items():
            frames.span_ns, frames.capacity = self._bounds(self._cameras[view], tolerances)
        for view, labels in self._labels.items():
            labels.span_ns, labels.capacity = self._bounds(self._cameras[view], tolerances)

    def add_frame(self, view: str, stamp_ns: int, pixels: Pixels) -> bool:
        """Add a frame of one camera with its time of exposure.

        Returns:
            Whether the camera's history was dropped, because its clock was reset.

        Raises:
            Rejected: out_of_order.

        """
        frames = self._frames[view]
        reset = frames.is_reset_by(stamp_ns)
        if not frames.append(stamp_ns, pixels):
            behind = ns_to_s(frames.newest - stamp_ns)
            raise Rejected(
                "out_of_order",
                f"camera '{view}' repeats the stamp of its last image, or is behind it by "
                f"{behind:.3f} s",
            )
        return reset

    def add_labels(self, view: str, stamp_ns: int, decode: LabelDecoder) -> None:
        """Add the labels of the frame with this stamp, which may arrive before or after it.

        Raises:
            Rejected: out_of_order.

        """
        labels = self._labels[view]
        if not labels.append(stamp_ns, decode):
            behind = ns_to_s(labels.newest - stamp_ns)
            raise Rejected(
                "out_of_order",
                f"the labels of camera '{view}' repeat the stamp of the last ones, or are behind "
                f"them by {behind:.3f} s",
            )

    def select(self, now_ns: int, tolerances: SyncTolerances) -> dict[str, list[int]]:
        """Select the frames of one observation.

        Returns:
            view -> stamps of the frames at every delta, oldest first. t_obs is the smallest of
            the last stamps.

        Raises:
            Rejected: missing_image, stale_image, skewed_images, missing_history, missing_labels,
                stale_labels.

        """
        latest = self._select_latest(now_ns, tolerances)
        t_obs = min(latest.values())
        return {
            view: [*self._select_earlier(view, t_obs, tolerances.max_image_skew), stamp]
            for view, stamp in latest.items()
        }

    def pixels(self, view: str, stamp_ns: int) -> Pixels:
        """Return the frame with exactly this stamp."""
        return self._frames[view].at(stamp_ns)

    def labels(self, view: str, stamp_ns: int) -> LabelDecoder:
        """Return the labels with exactly this stamp."""
        return self._labels[view].at(stamp_ns)

    def newest(self, view: str) -> int | None:
        """Return the stamp of the newest frame of one camera, ns; None without one."""
        frames = self._frames[view]
        return frames.newest if frames else None

    def drop_view(self, view: str) -> None:
        """Drop all frames of one camera."""
        self._frames[view].clear()

    def drop_labels(self, view: str) -> None:
        """Drop all labels of one camera."""
        self._labels[view].clear()

    def drop_after(self, stamp_ns: int) -> None:
        """Drop the frames that are newer than this."""
        for history in self._histories():
            history.drop_after(stamp_ns)

    def clear(self) -> None:
        """Drop all frames."""
        for history in self._histories():
            history.clear()

    def _histories(self) -> tuple[History[Any], ...]:
        return (*self._frames.values(), *self._labels.values())

    def _select_latest(self, now_ns: int, tolerances: SyncTolerances) -> dict[str, int]:
        ages = {}
        for view, frames in self._frames.items():
            if not frames:
                topic = self._cameras[view].topic
                detail = f"nothing received from camera '{view}' on '{topic}'"
                raise Rejected("missing_image", detail, view)
            ages[view] = ns_to_s(now_ns - frames.newest)
        oldest = max(ages, key=lambda view: ages[view])
        limit, skew = tolerances.max_image_age, tolerances.max_image_skew
        if ages[oldest] > limit:
            raise Rejected(
                "stale_image",
                f"the newest image of camera '{oldest}' is {ages[oldest]:.3f} s old "
                f"(max_image_age {limit:g} s){other_clock_hint(ages[oldest])}",
                oldest,
            )
        stamps = {view: self._usable(view, now_ns, limit) for view in self._frames}
        chosen = synchronised_frames(stamps, s_to_ns(skew))
        if chosen is None or now_ns - min(chosen.values()) > s_to_ns(limit):
            newest = min(ages, key=lambda view: ages[view])
            raise Rejected(
                "skewed_images",
                f"camera '{oldest}' is {ages[oldest] - ages[newest]:.3f} s behind camera "
                f"'{newest}', and no frames younger than {limit:g} s agree "
                f"(max_image_skew {skew:g} s)",
                oldest,
            )
        return chosen

    def _usable(self, view: str, now_ns: int, limit: float) -> Sequence[int]:
        """Return the stamps of the frames of a view, only those with labels if it needs them."""
        stamps = self._frames[view].stamps
        if view not in self._labels:
            return stamps
        labels = self._cameras[view].labels
        topic = "" if labels is None else labels.topic
        if not self._labels[view]:
            detail = f"nothing received from the labels of camera '{view}' on '{topic}'"
            raise Rejected("missing_labels", detail, topic)
        labelled = sorted(set(stamps).intersection(self._labels[view].stamps))
        if not labelled:
            raise Rejected(
                "missing_labels",
                f"no image of camera '{view}' has the stamp of labels on '{topic}': stamp them as "
                "the image that they belong to",
                topic,
            )
        age = ns_to_s(now_ns - labelled[-1])
        if age > limit:
            raise Rejected(
                "stale_labels",
                f"the newest labels of camera '{view}' on '{topic}' are {age:.3f} s old "
                f"(max_image_age {limit:g} s)",
                topic,
            )
        return labelled

    def _select_earlier(self, view: str, t_obs: int, tolerance: float) -> list[int]:
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
        """Return the span in ns and the capacity of the camera's history."""
        t = tolerances
        history = -self._deltas[0] * self._dt_ns
        span = history + s_to_ns(t.max_image_age + t.max_image_skew + t.max_future)
        # Twice the expected rate: memory stays bounded if a camera publishes too fast.
        return span, ceil(2 * camera.rate * span / NS_PER_S) + 2


class FrameSizes:
    """Check that the frames of each camera keep the size of its first one."""

    def __init__(self) -> None:
        self._sizes: dict[str, tuple[int, int]] = {}

    def stack(self, view: str, frames: Sequence[Pixels]) -> NDArray[np.uint8]:
        """Decode frames into uint8 [T, H, W, 3]; a single frame is not copied.

        Raises:
            Rejected: image_too_small, image_size_changed.
            MalformedError: a frame cannot be decoded.

        """
        try:
            arrays = [frame() for frame in frames]
        except MalformedError as error:
            raise MalformedError(error.reason, f"camera '{view}': {error.detail}") from error
        for array in arrays:
            self._check(view, array.shape[1], array.shape[0])
        return arrays[0][None] if len(arrays) == 1 else np.stack(arrays)

    def _check(self, view: str, width: int, height: int) -> None:
        if min(width, height) < MIN_SIDE:
            raise Rejected(
                "image_too_small",
                f"camera '{view}' sends {width} x {height} pixels, expected at least "
                f"{MIN_SIDE} x {MIN_SIDE}",
            )
        first = self._sizes.setdefault(view, (width, height))
        if (width, height) != first:
            raise Rejected(
                "image_size_changed",
                f"camera '{view}' sends {width} x {height} pixels, its first image had "
                f"{first[0]} x {first[1]}: run cleanup and configure if this is intended",
            )
