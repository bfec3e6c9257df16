# SPDX-License-Identifier: Apache-2.0
"""Statistics of the training data, and how they differ from those of the base checkpoint."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from groot_ros.datasets.statistics import groot_statistics
from groot_ros.families.family import GroupRange
from groot_ros.families.training import DataLayout
from groot_ros.training.data import Recording

#: A value is an outlier if it lies outside the range from q01 to q99 by more than this share of it.
_FAR = 3.0


def data_statistics(
    recordings: Sequence[Recording], layout: DataLayout, references: Mapping[str, str]
) -> dict[str, dict[str, dict[str, Any]]]:
    """Return "state", "action" or "relative_action" -> group -> statistic -> values.

    Statistics of relative actions are those of each step of a chunk, [H, D], over all rows that
    have this step.

    Args:
        recordings: episodes.
        layout: groups, and which are relative.
        references: relative action group -> state group that it refers to.

    """
    found: dict[str, dict[str, dict[str, Any]]] = {"state": {}, "action": {}}
    for kind, widths in (("state", layout.state_groups), ("action", layout.action_groups)):
        columns = {g: np.concatenate([getattr(r, kind)[g] for r in recordings]) for g in widths}
        found[kind] = groot_statistics(columns.items())
    relative = {}
    for group in sorted(layout.relative):
        steps = [
            groot_statistics({"": _offsets(recordings, group, references[group], step)}.items())[""]
            for step in range(layout.horizon)
        ]
        relative[group] = {key: [step[key] for step in steps] for key in steps[0]}
    if relative:
        found["relative_action"] = relative
    return found


def _offsets(
    recordings: Sequence[Recording], group: str, reference: str, step: int
) -> NDArray[np.float64]:
    """Return action minus state, [N, D], of one step of all chunks.

    An episode that is shorter than the step counts with its last action.
    """
    parts = []
    for recording in recordings:
        action, state = recording.action[group], recording.state[reference]
        count = max(1, len(action) - step)
        parts.append(action[-count:] - state[:count])
    return np.concatenate(parts)


def compare(
    statistics: Mapping[str, Any], layout: DataLayout, base: Sequence[GroupRange]
) -> Iterator[str]:
    """Yield lines that show the ranges of the data next to those of the base checkpoint."""
    known = {(entry.modality, entry.group): entry for entry in base}
    yield f"{'group':28} {'data':>24} {'base checkpoint':>24}"
    for kind in ("state", "action"):
        for group in getattr(layout, f"{kind}_groups"):
            stored = "relative_action" if kind == "action" and group in layout.relative else kind
            low, high = (np.asarray(statistics[stored][group][k], float) for k in ("min", "max"))
            width = low.shape[-1]
            low, high = low.reshape(-1, width).min(0), high.reshape(-1, width).max(0)
            entry = known.get((kind, group))
            for column in range(width):
                name = f"{kind} {group}[{column}]"
                own = _range(low[column], high[column])
                other = "none"
                if entry is not None and column < len(entry.low):
                    other = _range(float(entry.low[column]), float(entry.high[column]))
                mark = "" if other in ("none", own) else "  differs"
                yield f"{name:28} {own:>24} {other:>24}{mark}"


def outliers(recordings: Sequence[Recording], statistics: Mapping[str, Any]) -> Iterator[str]:
    """Yield a line for each column with values far outside the others, which stretch its range."""
    for kind in ("state", "action"):
        for group, own in statistics[kind].items():
            low, high = np.asarray(own["q01"]), np.asarray(own["q99"])
            margin = _FAR * (high - low)
            for column in range(len(low)):
                if margin[column] <= 0:
                    continue
                for recording in recordings:
                    values = getattr(recording, kind)[group][:, column]
                    far = np.flatnonzero(
                        (values < low[column] - margin[column])
                        | (values > high[column] + margin[column])
                    )
                    if len(far):
                        yield (
                            f"{recording.name}: {kind} '{group}' column {column} is "
                            f"{values[far[0]]:.4g} in row {far[0]}, and 98 % of all values are in "
                            f"{_range(low[column], high[column])}: one such row stretches the range"
                        )
                        break


def _range(low: float, high: float) -> str:
    return f"[{low:.4g}, {high:.4g}]"
