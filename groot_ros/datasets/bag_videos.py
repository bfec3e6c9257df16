# SPDX-License-Identifier: Apache-2.0
"""Videos of all episodes of a bag, in one pass over its images."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from groot_ros.bags.recording import RobotBag
from groot_ros.datasets import DatasetError
from groot_ros.datasets.features import IMAGES
from groot_ros.datasets.rows import EpisodeRows
from groot_ros.datasets.statistics import ImageStatistics, sampled_rows
from groot_ros.datasets.video import VideoEncoder, verify_video


def video_name(number: int, view: str) -> str:
    """Return the file name of the video of one camera and episode."""
    return f"{number}-{view}.mp4"


class _CameraVideo:
    """Video of one camera in one episode. Its encoder exists only while frames are added.

    Args:
        path: file to write.
        indices: index of the image of each row, ascending.
        fps: rows per second.

    Attributes:
        statistics: of the images.

    """

    def __init__(self, path: Path, indices: NDArray[np.int64], fps: int) -> None:
        self.statistics = ImageStatistics()
        self._path = path
        self._indices = indices
        self._fps = fps
        self._sampled = set(indices[sampled_rows(len(indices))].tolist())
        self._encoder: VideoEncoder | None = None

    def add_image(self, index: int, rgb: NDArray[np.uint8]) -> None:
        """Add the frames of all rows that show an image."""
        if self._encoder is None:
            self._encoder = VideoEncoder(self._path, self._fps)
        first, end = np.searchsorted(self._indices, [index, index + 1])
        for _ in range(first, end):
            self._encoder.add_frame(rgb)
        if index in self._sampled:
            self.statistics.add_image(rgb)
        if end == len(self._indices):
            self._encoder.close()

    def verify(self) -> None:
        """Raise DatasetError if the file does not have a frame for each row."""
        if problem := verify_video(self._path, len(self._indices), self._fps):
            raise DatasetError(f"{self._path.name}: the video {problem}")


def write_videos(
    bag: RobotBag, episodes: Sequence[EpisodeRows], fps: int, folder: Path
) -> tuple[dict[str, tuple[int, int]], list[dict[str, Any]]]:
    """Decode and encode all images in one pass.

    Returns:
        view -> (height, width), and for each episode camera -> statistics.

    """
    sizes: dict[str, tuple[int, int]] = {}
    videos = [
        {
            view: _CameraVideo(folder / video_name(number, view), indices, fps)
            for view, indices in rows.images.items()
        }
        for number, rows in enumerate(episodes)
    ]
    # view -> index of an image -> videos that show it.
    due: dict[str, dict[int, list[_CameraVideo]]] = {view: {} for view in bag.images}
    for rows, own in zip(episodes, videos, strict=True):
        for view, video in own.items():
            for index in np.unique(rows.images[view]).tolist():
                due[view].setdefault(index, []).append(video)
    for view, index, rgb in bag.frames({view: sorted(own) for view, own in due.items()}):
        height, width = rgb.shape[:2]
        if sizes.setdefault(view, (height, width)) != (height, width):
            raise DatasetError(
                f"bag {bag.path}: camera '{view}' changes its size from {sizes[view][1]} x "
                f"{sizes[view][0]} to {width} x {height} pixels"
            )
        for video in due[view][index]:
            video.add_image(index, rgb)
    try:
        for own in videos:
            for video in own.values():
                video.verify()
    except DatasetError as error:
        raise DatasetError(f"bag {bag.path}: {error}") from error
    return sizes, [
        {f"{IMAGES}{view}": video.statistics.result() for view, video in own.items()}
        for own in videos
    ]
