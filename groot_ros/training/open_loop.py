# SPDX-License-Identifier: Apache-2.0
"""Validation on held-out episodes: loss, and difference of predicted and recorded actions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from groot_ros.families.family import Processor
from groot_ros.families.training import ChunkTrainer, DataLayout
from groot_ros.robot import RobotContract
from groot_ros.training.data import Samples

#: Samples of one forward pass.
_BATCH = 16
Array = NDArray[np.float64]


@dataclass(frozen=True)
class OpenLoopError:
    """Mean absolute error of predicted actions on held-out samples; a `HeldOutError`.

    Attributes:
        joints: joint (or group and column) -> error.
        unit: "rad" or "data units"; joints in m have their own unit and do not count in the mean.
        mean: mean over the joints and steps.
        first_step, last_step: mean at the first and at the last step of a chunk.
        hold: mean of a policy that repeats the present state, where it is known.
        loss: validation loss.

    """

    joints: Mapping[str, float]
    unit: str
    mean: float
    first_step: float
    last_step: float
    hold: float
    loss: float

    @property
    def minimised(self) -> float:
        """See `families.training.HeldOutError.minimised`."""
        return self.mean

    def __str__(self) -> str:
        return (
            f"open-loop error {self.mean:.4f} {self.unit} (first step of a chunk "
            f"{self.first_step:.4f}, last {self.last_step:.4f}; holding still {self.hold:.4f})"
        )

    def metrics(self) -> dict[str, float]:
        """Return the values by the name of their curve."""
        named = {
            "error/mean": self.mean,
            "error/first_step": self.first_step,
            "error/last_step": self.last_step,
            "error/hold": self.hold,
            "loss/held_out": self.loss,
        }
        joints = {f"joint/{name}": value for name, value in self.joints.items()}
        return {n: v for n, v in {**named, **joints}.items() if np.isfinite(v)}


@torch.no_grad()
def open_loop_error(
    trainer: ChunkTrainer,
    processor: Processor,
    samples: Samples,
    layout: DataLayout,
    robot: RobotContract | None,
    count: int,
) -> OpenLoopError:
    """Predict chunks for held-out samples, always with the same noise.

    Args:
        trainer: its model is in eval mode.
        processor: processor of the checkpoint.
        samples: held-out samples.
        layout: layout of the data.
        robot: contract; None = errors in the units of the data.
        count: number of samples.

    Raises:
        FloatingPointError: a predicted action is not finite.

    """
    columns: dict[str, list[Array]] = {}
    held: dict[str, list[Array]] = {}
    units: dict[str, str] = {}
    losses, weights = [], []
    indices = samples.evenly_spaced(count)
    for begin in range(0, len(indices), _BATCH):
        part = indices[begin : begin + _BATCH]
        places = [samples.at(index) for index in part]
        batch = trainer.collate([trainer.training_sample(*place) for place in places])
        encoded = trainer.encode(batch)
        draws = trainer.draw(batch, [np.random.default_rng([0, index]) for index in part])
        losses.append(float(trainer.loss(batch, draws=draws, encoded=encoded)["loss"]))
        weights.append(trainer.counted_values(batch, draws))
        chunks = trainer.predict(batch, draws["noise"], encoded).float().cpu().numpy()
        if not np.isfinite(chunks).all():
            raise FloatingPointError(
                "the network predicts actions that are not finite: start again with a smaller "
                "learning_rate, or from another checkpoint"
            )
        for (episode, row), chunk in zip(places, chunks, strict=True):
            state = {group: values[row : row + 1] for group, values in episode.state.items()}
            decoded = processor.decode({"next_actions": chunk[None]}, state)
            for group in layout.action_groups:
                recorded = episode.action[group][row : row + layout.horizon]
                present = np.broadcast_to(state.get(group, np.full(1, np.nan)), recorded.shape)
                predicted = decoded[group][: len(recorded)].astype(np.float64)
                for name, unit, values in _joints(
                    robot, group, np.stack([predicted, recorded, present])
                ):
                    steps = np.full((2, layout.horizon), np.nan)
                    steps[0, : len(recorded)] = np.abs(values[0] - values[1])
                    steps[1, : len(recorded)] = np.abs(values[2] - values[1])
                    columns.setdefault(name, []).append(steps[0])
                    held.setdefault(name, []).append(steps[1])
                    units[name] = unit
    return _summary(columns, held, units, float(np.average(losses, weights=weights)))


def _summary(
    columns: Mapping[str, Sequence[Array]],
    held: Mapping[str, Sequence[Array]],
    units: Mapping[str, str],
    loss: float,
) -> OpenLoopError:
    errors = {name: np.stack(values) for name, values in columns.items()}
    unit = "rad" if "rad" in units.values() else next(iter(units.values()))
    counted = [name for name in errors if units[name] == unit]
    counted_errors = np.concatenate([errors[name] for name in counted])
    # Episodes that end earlier do not have the last steps.
    counted_errors = counted_errors[:, ~np.isnan(counted_errors).all(axis=0)]
    steps = np.nanmean(counted_errors, axis=0)
    still = np.stack([np.stack(held[name]) for name in counted])
    return OpenLoopError(
        {name: float(np.nanmean(values)) for name, values in errors.items()},
        unit,
        float(np.nanmean(counted_errors)),
        float(steps[0]),
        float(steps[-1]),
        float(np.nanmean(still)) if not np.isnan(still).all() else float("nan"),
        loss,
    )


def _joints(
    robot: RobotContract | None, group: str, values: NDArray[Any]
) -> list[tuple[str, str, Array]]:
    """Return name, unit and values of each joint that a group moves, or of each column."""
    if robot is None or group not in robot.action_groups:
        return [
            (f"{group}[{column}]", "data units", values[..., column])
            for column in range(values.shape[-1])
        ]
    targets = robot.action_to_si(group, values)
    joints = robot.action_groups[group].joints
    return [(n, robot.joints[n].unit, targets[..., i]) for i, n in enumerate(joints)]
