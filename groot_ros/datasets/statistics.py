# SPDX-License-Identifier: Apache-2.0
"""Statistics of a data set, in the three forms that its readers want.

GR00T reads `meta/stats.json` with six keys for each float column. LeRobot v2.1 reads statistics of
each episode, and v3.0 those of the episodes and of the whole set, with quantiles.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Statistics = Mapping[str, Any]

QUANTILES = {"q01": 0.01, "q10": 0.1, "q50": 0.5, "q90": 0.9, "q99": 0.99}
#: Keys of an episode in v2.1, and of a column in GR00T's stats.json.
V21_KEYS = ("min", "max", "mean", "std", "count")
GROOT_KEYS = ("mean", "std", "min", "max", "q01", "q99")
#: Sampled images: at least and at most; longest side after subsampling, px.
_MIN_IMAGES, _MAX_IMAGES, _LONGEST_SIDE = 100, 10_000, 150


def column_statistics(values: NDArray[Any]) -> dict[str, list[float]]:
    """Return all statistics of a column [N] or [N, D] as lists of D numbers; `count` of one."""
    array = np.asarray(values, dtype=np.float64).reshape(len(values), -1)
    quantiles = np.quantile(array, list(QUANTILES.values()), axis=0)
    return {
        "min": array.min(axis=0).tolist(),
        "max": array.max(axis=0).tolist(),
        "mean": array.mean(axis=0).tolist(),
        "std": array.std(axis=0).tolist(),
        "count": [len(array)],
        **{key: row.tolist() for key, row in zip(QUANTILES, quantiles, strict=True)},
    }


def sampled_rows(rows: int) -> NDArray[np.int64]:
    """Return the rows whose images are used for statistics: N^0.75 of them, at least 100."""
    count = min(rows, max(_MIN_IMAGES, min(int(rows**0.75), _MAX_IMAGES)))
    return np.unique(np.linspace(0, rows - 1, count).round().astype(np.int64))


class ImageStatistics:
    """Statistics of sampled images by channel; exact for the pixels that were added."""

    def __init__(self) -> None:
        self._histogram = np.zeros((3, 256), dtype=np.int64)
        self._images = 0

    def add_image(self, rgb: NDArray[np.uint8]) -> None:
        """Add an image, uint8 RGB [H, W, 3]; of a large one every n-th pixel."""
        step = max(1, -(-max(rgb.shape[:2]) // _LONGEST_SIDE))
        small = rgb[::step, ::step]
        for channel in range(3):
            self._histogram[channel] += np.bincount(small[..., channel].ravel(), minlength=256)
        self._images += 1

    def result(self) -> dict[str, Any]:
        """Return statistics shaped [3][1][1] with values from 0 to 1; `count` is of images."""
        levels = np.arange(256) / 255
        weights = self._histogram / self._histogram.sum(axis=1, keepdims=True)
        mean = weights @ levels
        std = np.sqrt(np.maximum(weights @ levels**2 - mean**2, 0.0))
        cumulative = weights.cumsum(axis=1)
        present = self._histogram > 0
        found = {
            "min": levels[present.argmax(axis=1)],
            "max": levels[255 - present[:, ::-1].argmax(axis=1)],
            "mean": mean,
            "std": std,
            **{k: levels[(cumulative < q).sum(axis=1).clip(max=255)] for k, q in QUANTILES.items()},
        }
        nested = {key: value.reshape(3, 1, 1).tolist() for key, value in found.items()}
        return {**nested, "count": [self._images]}


def aggregate(parts: Sequence[Statistics]) -> dict[str, Any]:
    """Combine the statistics of episodes: quantiles approximately, the others exactly."""
    counts = np.array([part["count"][0] for part in parts], dtype=np.float64)
    shares = counts / counts.sum()

    def stacked(key: str) -> NDArray[np.float64]:
        return np.array([part[key] for part in parts], dtype=np.float64)

    def mean_of(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.tensordot(shares, values, axes=1)

    mean = mean_of(stacked("mean"))
    square = mean_of(stacked("std") ** 2 + stacked("mean") ** 2)
    found: dict[str, Any] = {
        "min": stacked("min").min(axis=0).tolist(),
        "max": stacked("max").max(axis=0).tolist(),
        "mean": mean.tolist(),
        "std": np.sqrt(np.maximum(square - mean**2, 0.0)).tolist(),
        "count": [int(counts.sum())],
    }
    for key in QUANTILES:
        if all(key in part for part in parts):
            found[key] = mean_of(stacked(key)).tolist()
    return found


def groot_statistics(columns: Iterable[tuple[str, NDArray[Any]]]) -> dict[str, dict[str, list]]:
    """Return GR00T's stats.json of the float columns: over all rows, computed in float32."""
    result = {}
    for name, values in columns:
        array = np.asarray(values, dtype=np.float32).reshape(len(values), -1)
        found = {
            "mean": array.mean(axis=0),
            "std": array.std(axis=0),
            "min": array.min(axis=0),
            "max": array.max(axis=0),
            "q01": np.quantile(array, 0.01, axis=0),
            "q99": np.quantile(array, 0.99, axis=0),
        }
        result[name] = {key: np.asarray(found[key]).tolist() for key in GROOT_KEYS}
    return result
