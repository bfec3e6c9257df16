# SPDX-License-Identifier: Apache-2.0
"""Errors of predictions: means, curves over the horizon, baselines, and confidence intervals.

Chunks of neighbouring places predict the same motion, so their errors are not independent. The
bootstrap therefore draws blocks: the places of one episode within the duration of a chunk.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from groot_ros.evaluation.predictions import EpisodePredictions

Array = NDArray[np.float64]

#: Number of bootstrap samples, and the share of them within the interval.
_SAMPLES, _CONFIDENCE = 2000, 0.95


@dataclass
class JointErrors:
    """Errors of one joint over all episodes; N places of all episodes, S seeds, H steps.

    Attributes:
        unit: "rad" or "m".
        source: what it is compared with.
        error: [N, S, H], NaN where nothing was recorded.
        hold, repeat: [N, H], errors of the baselines.
        spread: [N, H], standard deviation of the prediction over the seeds.
        blocks: int [N], number of the block of each place.

    """

    unit: str
    source: str
    error: Array
    hold: Array
    repeat: Array
    spread: Array
    blocks: NDArray[np.int64]

    def summary(self) -> dict[str, Any]:
        """Return the means as JSON values, in the unit of the joint; None without a value."""
        own = self.error.mean(axis=1)
        return {
            "unit": self.unit,
            "reference": self.source,
            "error": _mean(own),
            "interval": interval(own, self.blocks),
            "hold": _mean(self.hold),
            "repeat": _mean(self.repeat),
            "better_than_hold": interval(self.hold - own, self.blocks),
            "seed_spread": _mean(self.spread) if self.error.shape[1] > 1 else None,
            "seed_errors": [_mean(self.error[:, s]) for s in range(self.error.shape[1])],
            "by_step": _by_step(own),
            "hold_by_step": _by_step(self.hold),
            "repeat_by_step": _by_step(self.repeat),
            "spread_by_step": _by_step(self.spread) if self.error.shape[1] > 1 else None,
            "compared_steps": int(np.isfinite(own).sum()),
            "steps_without_reference": int(np.isnan(own).sum()),
        }


def joint_errors(episodes: Sequence[EpisodePredictions]) -> dict[str, JointErrors]:
    """Return joint -> errors over all episodes in which it was compared.

    Raises:
        ValueError: the episodes have other horizons or numbers of seeds.

    """
    parts: dict[str, list[JointErrors]] = defaultdict(list)
    first_block = 0
    for episode in episodes:
        blocks = first_block + blocks_of(episode)
        first_block = int(blocks.max()) + 1
        error = episode.difference(episode.predicted, episode.recorded[:, None])
        hold = episode.difference(episode.hold[:, None], episode.recorded)
        repeat = episode.difference(episode.repeat[:, None], episode.recorded)
        spread = episode.predicted.std(axis=1)
        for j, joint in enumerate(episode.joints):
            part = JointErrors(
                episode.units[j],
                episode.sources[j],
                error[..., j],
                hold[..., j],
                repeat[..., j],
                spread[..., j],
                blocks,
            )
            parts[joint].append(part)
    return {joint: _joined(own) for joint, own in parts.items()}


def blocks_of(episode: EpisodePredictions) -> NDArray[np.int64]:
    """Return the block of each place, from 0: how many chunk durations after the first one."""
    duration = episode.horizon * episode.dt
    return ((episode.times - episode.times[0]) / duration).astype(np.int64)


def interval(values: Array, blocks: NDArray[np.int64]) -> list[float] | None:
    """Return the 95 % bootstrap interval of the mean over all values that are not NaN.

    Args:
        values: [N, H].
        blocks: [N]; blocks are drawn as a whole.

    Returns:
        [low, high]; None with fewer than two blocks.

    """
    valid = np.isfinite(values)
    _, index = np.unique(blocks, return_inverse=True)
    sums = np.bincount(index, np.where(valid, values, 0.0).sum(axis=1))
    counts = np.bincount(index, valid.sum(axis=1))
    sums, counts = sums[counts > 0], counts[counts > 0]
    if len(sums) < 2:
        return None
    # A fixed seed: two evaluations of the same recordings give the same interval.
    rng = np.random.default_rng(0)
    drawn = rng.multinomial(len(sums), np.full(len(sums), 1 / len(sums)), size=_SAMPLES)
    means = (drawn @ sums) / (drawn @ counts)
    tail = (1 - _CONFIDENCE) / 2
    return [float(q) for q in np.quantile(means, [tail, 1 - tail])]


def compared(
    first: Sequence[EpisodePredictions], second: Sequence[EpisodePredictions]
) -> dict[str, Any]:
    """Compare two policies at the places that both have, as JSON values.

    Returns:
        joints: joint -> unit, difference of the mean errors (second - first) and its interval;
        largest: the largest difference between their chunks, with its joint and place;
        places: number of places that were compared.

    """
    others = {episode.name: episode for episode in second}
    differences: dict[str, list[Array]] = defaultdict(list)
    blocks: dict[str, list[NDArray[np.int64]]] = defaultdict(list)
    units: dict[str, str] = {}
    largest: dict[str, Any] | None = None
    places, first_block = 0, 0
    for episode in first:
        other = others.get(episode.name)
        if other is None or other.horizon != episode.horizon:
            continue
        _, here, there = np.intersect1d(episode.numbers, other.numbers, return_indices=True)
        if not len(here):
            continue
        places += len(here)
        own_blocks = first_block + blocks_of(episode)[here]
        first_block = int(own_blocks.max()) + 1
        for joint in episode.joints:
            if joint not in other.joints:
                continue
            a, b = (
                each.difference(each.predicted, each.recorded[:, None]).mean(axis=1)[rows][
                    ..., each.joints.index(joint)
                ]
                for each, rows in ((episode, here), (other, there))
            )
            units[joint] = episode.units[episode.joints.index(joint)]
            differences[joint].append(b - a)
            blocks[joint].append(own_blocks)
            worst = _largest(episode, other, joint, here, there)
            if largest is None or worst["value"] > largest["value"]:
                largest = worst
    joints = {}
    for joint, own in differences.items():
        values, where = np.concatenate(own), np.concatenate(blocks[joint])
        joints[joint] = {
            "unit": units[joint],
            "difference": _mean(values),
            "interval": interval(values, where),
        }
    return {"joints": joints, "largest": largest, "places": places}


def _largest(
    episode: EpisodePredictions,
    other: EpisodePredictions,
    joint: str,
    here: NDArray[np.intp],
    there: NDArray[np.intp],
) -> dict[str, Any]:
    """Return the largest difference between the predictions of one joint, with its place."""
    a = episode.predicted[here][..., episode.joints.index(joint)]
    b = other.predicted[there][..., other.joints.index(joint)]
    seeds = min(a.shape[1], b.shape[1])
    difference = np.abs(a[:, :seeds] - b[:, :seeds])
    place, _, step = (int(i) for i in np.unravel_index(difference.argmax(), difference.shape))
    return {
        "joint": joint,
        "episode": episode.name,
        "time": float(episode.times[here[place]]),
        "step": step,
        "value": float(difference.max()),
    }


def over_joints(joints: Mapping[str, JointErrors]) -> dict[str, dict[str, Any]]:
    """Return unit -> summary of the mean over all joints of that unit."""
    summaries = {}
    for unit in sorted({each.unit for each in joints.values()}):
        own = [each for each in joints.values() if each.unit == unit]
        # Joints that lack in some episodes have other places and cannot be averaged by place.
        if len({len(each.blocks) for each in own}) > 1:
            continue
        mean = JointErrors(
            unit,
            ", ".join(sorted({each.source for each in own})),
            np.mean([each.error for each in own], axis=0),
            np.mean([each.hold for each in own], axis=0),
            np.mean([each.repeat for each in own], axis=0),
            np.mean([each.spread for each in own], axis=0),
            own[0].blocks,
        )
        summaries[unit] = mean.summary()
    return summaries


def _joined(parts: Sequence[JointErrors]) -> JointErrors:
    shapes = {part.error.shape[1:] for part in parts}
    if len(shapes) > 1:
        raise ValueError(f"episodes have other numbers of seeds and steps: {sorted(shapes)}")

    def together(name: str) -> Any:
        return np.concatenate([getattr(part, name) for part in parts])

    sources = ", ".join(sorted({part.source for part in parts}))
    names = ("error", "hold", "repeat", "spread", "blocks")
    return JointErrors(parts[0].unit, sources, *(together(name) for name in names))


def _mean(values: Array) -> float | None:
    valid = values[np.isfinite(values)]
    return float(valid.mean()) if len(valid) else None


def _by_step(values: Array) -> list[float | None]:
    """Return the mean of each step, [H]."""
    return [_mean(values[:, step]) for step in range(values.shape[1])]
