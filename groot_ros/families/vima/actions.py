# SPDX-License-Identifier: Apache-2.0
"""Actions of VIMA: two poses on a table in bins, their tokens, and their poses in metres."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from groot_ros.families.vima.config import PARTS, VimaConfig
from groot_ros.families.vima.perceptron import perceptron

#: Part of an action -> one number per coordinate, [..., 2] or [..., 4].
Parts = Mapping[str, Tensor]
#: Below this length a quaternion has no direction.
_MIN_NORM = 1e-6


@dataclass(frozen=True)
class TableBounds:
    """Area that the bins divide, as x and y of two corners in metres; the default is VIMA's."""

    low: tuple[float, float] = (0.25, -0.5)
    high: tuple[float, float] = (0.75, 0.5)


@dataclass(frozen=True)
class TablePose:
    """Position on the table in metres, and rotation as a unit quaternion x, y, z, w."""

    x: float
    y: float
    rotation: tuple[float, float, float, float]


@dataclass(frozen=True)
class PickPlace:
    """Decoded action: the poses where an object is picked up, or a push begins, and where it ends.

    Attributes:
        pick, place: poses.
        bins: part of the action -> bins of its coordinates.
        probabilities: part of the action -> probabilities of these bins; empty if not known.

    """

    pick: TablePose
    place: TablePose
    bins: Mapping[str, tuple[int, ...]]
    probabilities: Mapping[str, tuple[float, ...]] = field(default_factory=dict)


def to_bins(values: Parts, bins: Mapping[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """Return the bins of values on a scale of 0 to 1.

    The edges are n numbers from 0 to 1. Values above 1 give n, which is not a bin.
    """
    return {
        part: torch.stack(
            [
                torch.bucketize(column.contiguous(), torch.linspace(0, 1, n, device=column.device))
                for column, n in zip(values[part].unbind(-1), bins[part], strict=True)
            ],
            dim=-1,
        )
        for part in PARTS
    }


def from_bins(indices: Parts, bins: Mapping[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """Return bin / n for every coordinate, on a scale of 0 to 1; the last bin is not 1."""
    return {
        part: indices[part].float() / torch.tensor(bins[part], device=indices[part].device)
        for part in PARTS
    }


def pick_place(
    indices: Parts, bins: Mapping[str, tuple[int, ...]], bounds: TableBounds | None = None
) -> PickPlace:
    """Return the poses of one action.

    Args:
        indices: part of the action -> bins of its coordinates, [2] or [4].
        bins: part of the action -> number of bins of each coordinate.
        bounds: area of the table; None is VIMA's.

    Raises:
        ValueError: a rotation is zero, which is not a direction.

    """
    bounds = bounds or TableBounds()
    values = from_bins(indices, bins)
    poses = []
    for pose in ("pose0", "pose1"):
        x, y = (
            min(max(v * (high - low) + low, low), high)
            for v, low, high in zip(
                values[f"{pose}_position"].tolist(), bounds.low, bounds.high, strict=True
            )
        )
        q = [min(max(2.0 * v - 1.0, -1.0), 1.0) for v in values[f"{pose}_rotation"].tolist()]
        norm = math.hypot(*q)
        if norm < _MIN_NORM:
            raise ValueError(
                f"{pose}_rotation: the bins {indices[f'{pose}_rotation'].tolist()} "
                "give a quaternion of length 0"
            )
        poses.append(TablePose(x, y, (q[0] / norm, q[1] / norm, q[2] / norm, q[3] / norm)))
    chosen = {part: tuple(indices[part].tolist()) for part in PARTS}
    return PickPlace(poses[0], poses[1], chosen)


class PartEncoder(nn.Module):
    """Encoder of one part of an action."""

    def __init__(self, inputs: int, config: VimaConfig) -> None:
        super().__init__()
        self._layer = perceptron(inputs, config.action_embed, config.action_embed_output)

    def forward(self, values: Tensor) -> Tensor:
        """Map [..., inputs] to [..., action_embed_output]."""
        return self._layer(values)


class ActionEncoder(nn.Module):
    """Values of an action to one token."""

    def __init__(self, config: VimaConfig) -> None:
        super().__init__()
        self._embed_dict = nn.ModuleDict(
            {part: PartEncoder(len(config.bins[part]), config) for part in PARTS}
        )
        inputs = len(PARTS) * config.action_embed_output
        # Checkpoints have no layer here where it would keep the width.
        self._post_layer = (
            nn.Identity() if inputs == config.embed_dim else nn.Linear(inputs, config.embed_dim)
        )

    def forward(self, values: Parts) -> Tensor:
        """Map values on a scale of 0 to 1, [..., 2] or [..., 4] each, to [..., embed_dim]."""
        encoded = [self._embed_dict[part](values[part]) for part in PARTS]
        return self._post_layer(torch.cat(encoded, dim=-1))


class PartDecoder(nn.Module):
    """Scores of the bins of one part of an action, with one perceptron per coordinate."""

    def __init__(self, bins: tuple[int, ...], config: VimaConfig) -> None:
        super().__init__()
        self.mlps = nn.ModuleList(
            perceptron(config.embed_dim, config.action_decoder, n) for n in bins
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map [..., C] to the scores of all coordinates, one after the other."""
        return torch.cat([mlp(x) for mlp in self.mlps], dim=-1)


class ActionDecoder(nn.Module):
    """Predicted token to the scores of every part's bins."""

    def __init__(self, config: VimaConfig) -> None:
        super().__init__()
        self.bins = {part: tuple(config.bins[part]) for part in PARTS}
        self._decoders = nn.ModuleDict(
            {part: PartDecoder(config.bins[part], config) for part in PARTS}
        )

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Map [..., C] to scores [..., sum of the bins] of each part."""
        return {part: self._decoders[part](x) for part in PARTS}

    def log_probabilities(self, scores: Parts) -> dict[str, Tensor]:
        """Normalise the scores of each coordinate; shapes stay the same."""
        return {
            part: torch.cat(
                [s.log_softmax(-1) for s in scores[part].split(self.bins[part], -1)], dim=-1
            )
            for part in PARTS
        }

    def most_likely(self, scores: Parts) -> dict[str, Tensor]:
        """Return the most likely bin of each coordinate, [..., 2] or [..., 4].

        Probabilities are compared, not scores: where they round to the same number, the first bin
        wins, as in the vendor's code.
        """
        return {
            part: torch.stack(
                [p.softmax(-1).argmax(-1) for p in log.split(self.bins[part], -1)], dim=-1
            )
            for part, log in self.log_probabilities(scores).items()
        }

    def decode(self, scores: Parts, bounds: TableBounds | None = None) -> PickPlace:
        """Return the most likely action of one step.

        Args:
            scores: scores of each part, [sum of its bins].
            bounds: area of the table; None is VIMA's.

        Raises:
            ValueError: a score is not finite, or a rotation is zero.

        """
        if not all(bool(part.isfinite().all()) for part in scores.values()):
            raise ValueError("the network's output is not finite")
        chosen = self.most_likely(scores)
        probabilities = {
            part: tuple(
                float(p[index].exp())
                for p, index in zip(log.split(self.bins[part]), chosen[part].tolist(), strict=True)
            )
            for part, log in self.log_probabilities(scores).items()
        }
        return replace(pick_place(chosen, self.bins, bounds), probabilities=probabilities)
