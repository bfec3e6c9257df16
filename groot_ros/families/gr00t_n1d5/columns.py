# SPDX-License-Identifier: Apache-2.0
"""Conversion of one group of state or action columns: change of rotation, then normalisation."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from groot_ros.families.family import GroupRange
from groot_ros.families.gr00t_n1d5 import rotations
from groot_ros.processing.statistics import MeanStd, MinMax

Array = NDArray[np.float64]
Mode = Literal["", "min_max", "q99", "mean_std", "scale", "binary", "sin_cos"]
MODES: tuple[str, ...] = get_args(Mode)
#: Modes without an inverse, which actions cannot have.
ONE_WAY = ("scale", "sin_cos")
#: Statistics that each mode needs.
NEEDS: Mapping[str, tuple[str, ...]] = {
    "min_max": ("min", "max"),
    "q99": ("q01", "q99"),
    "mean_std": ("mean", "std"),
    "scale": ("min", "max"),
}
#: Mode -> name in `GroupRange.normalisation`.
_NAMES = {
    "": "none",
    "min_max": "min/max",
    "q99": "q01/q99",
    "mean_std": "mean/std",
    "scale": "scale",
    "binary": "binary",
    "sin_cos": "sin/cos",
}
#: Normalised magnitude above which a state counts as far outside the training data.
_FAR = {"min_max": MinMax.far, "q99": MinMax.far, "mean_std": MeanStd.far}
#: Normalised value between closed and open.
_THRESHOLD = 0.5


@dataclass(frozen=True)
class Scheme:
    """Normalisation of a group.

    Attributes:
        mode: how it is normalised; "" = not at all.
        one, two: the statistics of the mode: lower and upper bound, or mean and deviation, [D].

    """

    mode: Mode = ""
    one: Array | None = None
    two: Array | None = None

    @property
    def name(self) -> str:
        """Return the name of the normalisation."""
        return _NAMES[self.mode]

    @property
    def far(self) -> float:
        """See `processing.group_codec.Scheme.far`."""
        return _FAR.get(self.mode, math.inf)

    def scale(self, values: Array) -> Array:
        """Normalise values [..., D] without clipping; `sin_cos` doubles the columns.

        Constant columns become 0 with min_max, and keep their values with q99 and mean_std, as in
        the reference.
        """
        if self.mode == "sin_cos":
            return np.concatenate([np.sin(values), np.cos(values)], axis=-1)
        if self.mode == "binary":
            return (values > _THRESHOLD).astype(np.float64)
        if self.one is None or self.two is None:
            return values
        if self.mode == "mean_std":
            varies = self.two != 0
            return np.where(varies, (values - self.one) / np.where(varies, self.two, 1.0), values)
        if self.mode == "scale":
            largest = np.maximum(np.abs(self.one), np.abs(self.two))
            return np.where(largest != 0, values / np.where(largest != 0, largest, 1.0), 0.0)
        varies = self.one != self.two
        span = np.where(varies, self.two - self.one, 1.0)
        scaled = 2.0 * (values - self.one) / span - 1.0
        return np.where(varies, scaled, 0.0 if self.mode == "min_max" else values)

    def limit(self, scaled: Array) -> Array:
        """Clip normalised values to [-1, 1] with q99; the other modes do not clip."""
        return scaled.clip(-1.0, 1.0) if self.mode == "q99" else scaled

    def inverse(self, values: Array) -> Array:
        """Map normalised values [..., D] back; nothing is clamped.

        Raises:
            ValueError: the mode has no inverse.

        """
        if self.mode in ONE_WAY:
            raise ValueError(f"normalisation '{self.mode}' has no inverse")
        if self.mode == "binary":
            return (values > _THRESHOLD).astype(np.float64)
        if self.one is None or self.two is None:
            return values
        if self.mode == "mean_std":
            return values * self.two + self.one
        return (values + 1.0) / 2.0 * (self.two - self.one) + self.one


@dataclass(frozen=True)
class ColumnGroup:
    """One group of columns.

    Attributes:
        name: name of the group.
        width: number of raw columns.
        scheme: normalisation, applied after the change of rotation.
        rotation: representations of the raw and of the encoded rotation; None = no change.
        low, high: limits of the training data, [width] each.
        extremes: smallest and largest training values, [width] each.

    """

    name: str
    width: int
    scheme: Scheme
    rotation: tuple[str, str] | None
    low: Array
    high: Array
    extremes: tuple[Array, Array]

    @property
    def encoded_width(self) -> int:
        """Return the number of columns of the model."""
        if self.rotation is not None:
            return rotations.width(self.rotation[1])
        return self.width * (2 if self.scheme.mode == "sin_cos" else 1)

    @property
    def far(self) -> float:
        """See `processing.group_codec.Scheme.far`; unknown for a converted rotation."""
        return self.scheme.far if self.rotation is None else math.inf

    def scale(self, values: Array) -> Array:
        """Convert raw values [..., width] to columns of the model, without clipping."""
        if self.rotation is not None:
            values = rotations.convert(values, *self.rotation)
        return self.scheme.scale(values)

    def limit(self, scaled: Array) -> Array:
        """Clip columns of the model as the normalisation does."""
        return self.scheme.limit(scaled)

    def decode(self, values: Array) -> Array:
        """Convert columns of the model to raw values [..., width]."""
        raw = self.scheme.inverse(values)
        return raw if self.rotation is None else rotations.convert(raw, *self.rotation[::-1])

    def range(self, modality: Literal["state", "action"]) -> GroupRange:
        """Return the training range."""
        how = self.scheme.name
        return GroupRange(modality, self.name, "", how, self.low, self.high, self.extremes)
