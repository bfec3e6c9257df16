# SPDX-License-Identifier: Apache-2.0
"""An episode of a LeRobot data set as a recording: its rows are the observations and the commands.

Row k is the observation at k / fps, and its action is the active command at that time. The live
node's choice of images does not apply: it was made when the data set was written.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from groot_ros.core import NS_PER_S, Observation, ns_to_s
from groot_ros.datasets import DatasetError
from groot_ros.datasets.reader import Dataset, Episode
from groot_ros.evaluation.bag_observations import Place
from groot_ros.evaluation.predictions import MOTION, Reference
from groot_ros.observation.spec import ObservationSpec, SyncTolerances
from groot_ros.robot import RobotContract

Array = NDArray[np.float64]

#: Largest relative difference between the rate of a data set and that of a contract's actions.
_RATE_TOLERANCE = 1e-3
#: Stamp of the first row, ns: stamps must not be 0.
_START_NS = NS_PER_S
_ACTION = "action"


def dataset_contract(dataset: Dataset) -> RobotContract:
    """Return the robot contract that a data set contains.

    Raises:
        DatasetError: it has none.

    """
    contract = dataset.description.robot_contract()
    if contract is None:
        raise DatasetError(f"{dataset.path} contains no robot contract: give one with --robot")
    return contract


class DatasetRecording:
    """One episode of a data set as a recording; see `predictions.Recording`.

    Args:
        episode: of the data set.
        contract: the robot; the groups of the data set are those of the contract, in the units of
            the checkpoint.
        instruction: replaces those of the episode.

    Raises:
        DatasetError: the rows have another rate than the actions of the contract.

    """

    def __init__(
        self, episode: Episode, contract: RobotContract, instruction: str | None = None
    ) -> None:
        self._episode = episode
        self._contract = contract
        self._instruction = instruction
        self._fps = episode.dataset.fps
        self._state: dict[str, Array] = {}
        self._actions: dict[str, Array] | None = None
        rate = 1.0 / contract.action_dt
        if abs(self._fps / rate - 1.0) > _RATE_TOLERANCE:
            raise DatasetError(
                f"{episode.dataset.path} has {self._fps:g} rows per second, but an action of robot "
                f"'{contract.robot}' lasts {contract.action_dt:g} s ({rate:.4g} Hz): use a data "
                "set of that rate, or correct action_dt in the contract"
            )

    @property
    def contract(self) -> RobotContract:
        """The robot."""
        return self._contract

    @property
    def repairs(self) -> Sequence[str]:
        """Nothing is left out of a data set."""
        return ()

    @property
    def duration(self) -> float:
        """Return the s from the first row to the last."""
        return (self._episode.length - 1) / self._fps

    def places(
        self, spec: ObservationSpec, tolerances: SyncTolerances, interval: float
    ) -> Iterator[Place]:
        """Yield the places, in order; the first ones lack where the history is too short."""
        episode, contract = self._episode, self._contract
        length = episode.table.num_rows
        step = max(1, round(interval * self._fps))
        first = -min(*spec.image_deltas, *spec.state_deltas)
        rows = list(range(0, length, step))
        self._state = {
            group: contract.state_to_si(group, episode.group("state", group))
            for group in spec.groups
        }
        texts = episode.instructions()
        used = [row for row in rows if row >= first]
        frames = {view: self._frames(view, used, spec.image_deltas) for view in spec.views}
        for number, row in enumerate(rows):
            since = ns_to_s(self._stamp(row) - _START_NS)
            if row < first:
                detail = f"{first} rows are needed before it"
                yield Place(number, since, None, "missing_history", detail)
                continue
            state = {
                group: values[[row + delta for delta in spec.state_deltas]]
                for group, values in self._state.items()
            }
            images = {view: next(own) for view, own in frames.items()}
            text = texts[row] if self._instruction is None else self._instruction
            yield Place(number, since, Observation(self._stamp(row), images, state, text))

    def references(self, joints: Sequence[str], wanted: Reference) -> dict[str, str]:
        """Return joint -> "action", or MOTION."""
        commanded = {} if wanted == "motion" else dict.fromkeys(self._action_columns(), _ACTION)
        measured = {} if wanted == "commands" else dict.fromkeys(self._state_columns(), MOTION)
        found = {**measured, **commanded}
        return {joint: found[joint] for joint in joints if joint in found}

    def reference(self, joint: str, source: str, times_ns: NDArray[np.int64]) -> Array:
        """Return the recorded position of a joint in the rows of these times, [T]."""
        columns = self._state_columns() if source == MOTION else self._action_columns()
        values = columns[joint]
        rows = np.round((np.asarray(times_ns) - _START_NS) / NS_PER_S * self._fps).astype(int)
        inside = (rows >= 0) & (rows < len(values))
        return np.where(inside, values[np.clip(rows, 0, len(values) - 1)], np.nan)

    def last_action(self, joint: str, times_ns: NDArray[np.int64]) -> Array:
        """Return the active command at these times, [T]."""
        if joint not in self._action_columns():
            return np.full(len(times_ns), np.nan)
        return self.reference(joint, _ACTION, times_ns)

    def _stamp(self, row: int) -> int:
        return _START_NS + round(row * NS_PER_S / self._fps)

    def _frames(
        self, view: str, rows: Sequence[int], deltas: Sequence[int]
    ) -> Iterator[NDArray[np.uint8]]:
        """Yield uint8 [T, H, W, 3] for each row; the video is decoded once, in its order."""
        wanted = sorted({row + delta for row in rows for delta in deltas})
        decoded = zip(wanted, self._episode.frames(view, wanted), strict=True)
        kept: dict[int, NDArray[np.uint8]] = {}
        for row in rows:
            needed = [row + delta for delta in deltas]
            while needed[-1] not in kept:
                index, frame = next(decoded)
                kept[index] = frame
            yield np.stack([kept[index] for index in needed])
            kept = {index: frame for index, frame in kept.items() if index > row + deltas[0]}

    def _state_columns(self) -> Mapping[str, Array]:
        """Return joint -> its column in rad or m, [N]."""
        return {
            joint: self._state[group][:, column]
            for group, joints in self._contract.state_groups.items()
            if group in self._state
            for column, joint in enumerate(joints)
        }

    def _action_columns(self) -> Mapping[str, Array]:
        """Return joint -> its column of the actions in rad or m, [N]."""
        if self._actions is None:
            self._actions = {}
            known = self._episode.dataset.description.modality.get("action", {})
            for group, mapped in self._contract.action_groups.items():
                if group not in known or not mapped.joints:
                    continue
                columns = self._episode.group("action", group)
                if problem := mapped.width_problem(columns.shape[1]):
                    raise DatasetError(
                        f"{self._episode.dataset.path}: action group '{group}' {problem}"
                    )
                targets = self._contract.action_to_si(group, columns)
                self._actions |= {j: targets[:, i] for i, j in enumerate(mapped.joints)}
        return self._actions
