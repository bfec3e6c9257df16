# SPDX-License-Identifier: Apache-2.0
"""Error of predicted actions of VIMA: positions in metres, and the share of correct episodes."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from groot_ros.families.vima.actions import Parts, PickPlace, TableBounds, pick_place
from groot_ros.families.vima.config import ROTATIONS

#: Largest error of a position, m, and of the turn from pick to place, rad, of a correct action.
POSITION_TOLERANCE = 0.015
ROTATION_TOLERANCE = math.radians(10.0)


@dataclass(frozen=True)
class PlacementError:
    """Error of the predicted actions of held-out episodes; see `families.training.HeldOutError`.

    Attributes:
        placed: share of the episodes of which all actions are correct: both positions within 1.5 cm
            and the turn from pick to place within 10 degrees.
        position: mean distance of the predicted from the recorded positions, m.
        loss: mean cross-entropy.
        tasks: name of a task -> share of its episodes.

    """

    placed: float
    position: float
    loss: float
    tasks: Mapping[str, float]
    unit: str = "m"

    @property
    def minimised(self) -> float:
        """Return the share of the episodes with a wrong action; positions decide between equals."""
        return 1.0 - self.placed + 1e-3 * self.position

    def metrics(self) -> dict[str, float]:
        """Return the values by the name of their curve."""
        return {
            "error/mean": self.position,
            "loss/held_out": self.loss,
            "share/placed": self.placed,
            **{f"share/{task}": share for task, share in self.tasks.items() if task},
        }

    def __str__(self) -> str:
        tasks = ", ".join(f"{task} {100 * share:.0f} %" for task, share in self.tasks.items())
        return (
            f"{100 * self.placed:.1f} % of the held-out episodes placed within "
            f"{100 * POSITION_TOLERANCE:.1f} cm (mean error {1000 * self.position:.1f} mm"
            + (f"; {tasks})" if tasks else ")")
        )


def distances(predicted: PickPlace, recorded: PickPlace) -> tuple[float, float]:
    """Return the distances of the two positions, m."""
    pairs = ((predicted.pick, recorded.pick), (predicted.place, recorded.place))
    one, two = (math.hypot(a.x - b.x, a.y - b.y) for a, b in pairs)
    return one, two


def turn_error(predicted: PickPlace, recorded: PickPlace) -> float:
    """Return the difference of the turns from pick to place, rad."""
    one, two = (_turn(action) for action in (predicted, recorded))
    return 2.0 * math.acos(min(1.0, abs(float(one @ two))))


def _turn(action: PickPlace) -> NDArray[np.float64]:
    """Return place * conjugate(pick) as x, y, z, w."""
    first, second = np.array(action.pick.rotation), np.array(action.place.rotation)
    vector = first[3] * second[:3] - second[3] * first[:3] - np.cross(second[:3], first[:3])
    return np.array([*vector, second @ first])


@dataclass(frozen=True)
class StepError:
    """Error of one predicted action.

    Attributes:
        correct: within the tolerances.
        distances: of the two positions, m.

    """

    correct: bool
    distances: tuple[float, float]


def compare(predicted: PickPlace, recorded: PickPlace) -> StepError:
    """Return the error of an action."""
    apart = distances(predicted, recorded)
    turned = turn_error(predicted, recorded)
    return StepError(max(apart) <= POSITION_TOLERANCE and turned <= ROTATION_TOLERANCE, apart)


def step_error(
    predicted: Parts, recorded: Parts, bins: Mapping[str, tuple[int, ...]], bounds: TableBounds
) -> StepError:
    """Return the error of an action that is given in bins; see `actions.pick_place`."""
    expected = pick_place(recorded, bins, bounds)
    try:
        return compare(pick_place(predicted, bins, bounds), expected)
    except ValueError:
        # A rotation without direction, which a session rejects.
        turned = {part: recorded[part] for part in ROTATIONS}
        found = pick_place({**predicted, **turned}, bins, bounds)
        return StepError(False, distances(found, expected))


def placement_error(
    episodes: Sequence[tuple[str, Sequence[StepError]]], loss: float
) -> PlacementError:
    """Return the error of episodes, given as the task and the errors of all steps."""
    correct: dict[str, list[bool]] = {}
    for task, errors in episodes:
        correct.setdefault(task, []).append(all(error.correct for error in errors))
    apart = [error.distances for _, errors in episodes for error in errors]
    return PlacementError(
        float(np.mean([value for values in correct.values() for value in values])),
        float(np.mean(apart)),
        loss,
        {task: float(np.mean(values)) for task, values in sorted(correct.items())},
    )
