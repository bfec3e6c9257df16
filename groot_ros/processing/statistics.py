# SPDX-License-Identifier: Apache-2.0
"""Normalisation of one group of columns from the statistics of the training data."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from groot_ros.core.config_reader import CheckpointError, Fields

Array = NDArray[np.float64]
#: group -> statistic (min, max, mean, std, q01, q99) -> [D], or [T, D] for relative actions
GroupStatistics = Mapping[str, Mapping[str, Array]]


@dataclass(frozen=True)
class MinMax:
    """Normalisation of [low, high] to [-1, 1]; constant columns become 0.

    Attributes:
        low, high: [D] or [T, D].
        clip: clip normalised values to [-1, 1].

    """

    #: One whole range beyond the limits.
    far: ClassVar[float] = 3.0
    low: Array
    high: Array
    clip: bool

    def scale(self, values: Array) -> Array:
        """Normalise values [..., T, D] without clipping."""
        low, varies, span = (_rows(s, values) for s in (self.low, self._varies, self._span))
        return np.where(varies, 2.0 * (values - low) / span - 1.0, 0.0)

    def limit(self, scaled: Array) -> Array:
        """Clip normalised values to [-1, 1] if `clip` is set."""
        return scaled.clip(-1.0, 1.0) if self.clip else scaled

    def denormalise(self, values: Array) -> Array:
        """Clip values [..., T, D] to [-1, 1] and map them back to [low, high].

        Values are clipped even if `clip` is False, as in the reference.
        """
        return self.stretch(np.clip(values, -1.0, 1.0))

    def stretch(self, values: Array) -> Array:
        """Map values [..., T, D] back without clipping."""
        low, high = _rows(self.low, values), _rows(self.high, values)
        return (values + 1.0) / 2.0 * (high - low) + low

    @cached_property
    def _varies(self) -> NDArray[np.bool_]:
        return ~np.isclose(self.high, self.low)

    @cached_property
    def _span(self) -> Array:
        return np.where(self._varies, self.high - self.low, 1.0)


@dataclass(frozen=True)
class MeanStd:
    """Normalisation to zero mean and unit deviation; columns with deviation 0 stay unchanged.

    Attributes:
        mean, std: [D] or [T, D].
        clip: clip normalised values to one sigma, as the reference does for actions.

    """

    #: Sigma from the mean.
    far: ClassVar[float] = 10.0
    mean: Array
    std: Array
    clip: bool

    def scale(self, values: Array) -> Array:
        """Normalise values [..., T, D] without clipping."""
        mean, std = _rows(self.mean, values), _rows(self.std, values)
        return np.where(std != 0, (values - mean) / np.where(std != 0, std, 1.0), values)

    def limit(self, scaled: Array) -> Array:
        """Clip normalised values to [-1, 1] if `clip` is set."""
        return scaled.clip(-1.0, 1.0) if self.clip else scaled

    def denormalise(self, values: Array) -> Array:
        """Map normalised values [..., T, D] back; they are never clipped."""
        mean, std = _rows(self.mean, values), _rows(self.std, values)
        return np.where(std != 0, values * std + mean, values)


@dataclass(frozen=True)
class SinCos:
    """Encoding as [sin, cos] of all columns: twice as many columns, no statistics."""

    far: ClassVar[float] = math.inf

    def scale(self, values: Array) -> Array:
        """Encode angles [..., T, D], rad, as [..., T, 2 D]."""
        return np.concatenate([np.sin(values), np.cos(values)], axis=-1)

    def limit(self, scaled: Array) -> Array:
        """Return the values unchanged, as sines and cosines need no clipping."""
        return scaled


def _rows(statistic: NDArray[Any], values: Array) -> NDArray[Any]:
    """Return the leading steps of a per-step statistic, as a chunk may be shorter."""
    return statistic[: values.shape[-2]] if statistic.ndim == 2 else statistic


@dataclass(frozen=True)
class Statistics:
    """Contents of statistics.json for one embodiment; `where` names the source in errors."""

    state: GroupStatistics
    action: GroupStatistics
    relative_action: GroupStatistics
    where: str = "statistics.json"

    @classmethod
    def read(cls, path: Path, tag: str) -> "Statistics":
        """Read the entry of one tag.

        Raises:
            CheckpointError: a value is malformed, min is above max, q01 above q99, or a deviation
                is negative; names file, key and column. The reference accepts such statistics,
                which would invert the motion.

        """
        return cls.parse(Fields.read(path).section(tag))

    @classmethod
    def parse(cls, f: Fields) -> "Statistics":
        """Return the statistics of one tag; raises as `read` does."""
        return cls(
            _groups(f, "state"), _groups(f, "action"), _groups(f, "relative_action"), f.where
        )

    def get(self, modality: str, group: str, statistic: str) -> Array:
        """Return a statistic of a group, [D] or [T, D].

        Args:
            modality: "state", "action" or "relative_action".
            group: name of the group.
            statistic: "min", "max", "mean", "std", "q01" or "q99".

        Raises:
            CheckpointError: the checkpoint does not contain it.

        """
        groups: GroupStatistics = getattr(self, modality)
        if group not in groups:
            raise CheckpointError(f"{self.where}: '{modality}.{group}' is missing")
        if statistic not in groups[group]:
            raise CheckpointError(f"{self.where}: '{modality}.{group}.{statistic}' is missing")
        return groups[group][statistic]

    def width(self, modality: str, group: str) -> int:
        """Return the number of columns of a state or (absolute) action group."""
        return self.get(modality, group, "min").shape[-1]


def _groups(f: Fields, modality: str) -> GroupStatistics:
    groups = f.section(modality, {})
    return {group: _group(groups.section(group)) for group in groups.value}


def _group(f: Fields) -> Mapping[str, Array]:
    found = {name: _array(f, name) for name in f.value if isinstance(f.value[name], list)}
    for lower, upper in (("min", "max"), ("q01", "q99")):
        if lower in found and upper in found:
            low, high = found[lower], found[upper]
            if low.shape != high.shape:
                raise f.error(lower, f"is {list(low.shape)}, '{upper}' {list(high.shape)}")
            # In a column that the reference treats as constant, rounding may swap the two.
            for at in np.argwhere((low > high) & ~np.isclose(low, high)):
                problem = f"is {low[tuple(at)]:g}, above '{upper}' {high[tuple(at)]:g},"
                raise f.error(lower, f"{problem} {_place(at)}")
    for at in np.argwhere(found.get("std", np.zeros(1)) < 0):
        raise f.error("std", f"is {found['std'][tuple(at)]:g}, below 0, {_place(at)}")
    return found


def _place(at: NDArray[np.intp]) -> str:
    step = f"in step {at[0]}, " if len(at) == 2 else "in "
    return f"{step}column {at[-1]}"


def _array(f: Fields, name: str) -> Array:
    try:
        array = np.array(f.get(name), dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        raise f.error(name, "must be a list of numbers, or of equally long lists") from None
    if array.ndim not in (1, 2) or not array.size or not np.isfinite(array).all():
        raise f.error(name, "must be a finite list [D] or [T][D]")
    return array
