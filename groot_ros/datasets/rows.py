# SPDX-License-Identifier: Apache-2.0
"""Rows of episodes from the streams of a bag: which image, state and command belong to each.

Rows lie on a fixed grid of header time. Images and states are chosen by the code of the live node
(`groot_ros.observation`), so that a policy is trained on what it will see. The action of a row is
the active command at its time. Nothing is filled in: where an input is missing, the episode ends.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from groot_ros.bags.recording import RobotBag
from groot_ros.core import NS_PER_S, is_blank, ns_to_s
from groot_ros.datasets import DatasetError
from groot_ros.datasets.live_choice import live_choices
from groot_ros.observation.spec import SyncTolerances
from groot_ros.robot import RobotContract

Floats = NDArray[np.float64]

COMMANDS, FROM_STATE = "commands", "from-state"
#: Positions of the grid between two frames that are tried; jitter of a camera must not decide
#: whether a frame belongs to a row or to the next.
_PHASES = 4
#: Reasons why rows are left out that are no gaps of a stream.
_NO_INSTRUCTION, _NO_NEXT_STATE = "there is no instruction", "there is no state after it"


@dataclass(frozen=True)
class RowSettings:
    """Settings for making rows.

    Attributes:
        fps: rows per second.
        instruction: of all rows; empty = as recorded.
        action: COMMANDS, or FROM_STATE: the state of the next row.
        horizon: rows of rest that are kept at the end, and least length of an episode.
        max_duplicates: largest share of rows that repeat the image of the row before.
        trim_idle: whether rest at the start and the end is left out.
        split_at_gaps: whether a gap ends the episode; False = an error.
        tolerances: as of the policy node.

    """

    fps: int
    instruction: str = ""
    action: str = COMMANDS
    horizon: int = 16
    max_duplicates: float = 0.1
    trim_idle: bool = True
    split_at_gaps: bool = True
    tolerances: SyncTolerances = field(default_factory=SyncTolerances)


@dataclass(frozen=True)
class EpisodeRows:
    """Rows of one episode, without the pixels.

    Attributes:
        times_ns: int64 [N], the grid.
        instruction: what the robot was told to do.
        images: view -> index [N] into its ImageStream.
        state: [N, S], in the units of the checkpoint.
        action: [N, A], in the units of the checkpoint.
        intervention: bool [N], whether a human was in command.

    """

    times_ns: NDArray[np.int64]
    instruction: str
    images: Mapping[str, NDArray[np.int64]]
    state: Floats
    action: Floats
    intervention: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.times_ns)

    def span(self, bag: RobotBag) -> str:
        """Return where the rows are in the bag, for messages."""
        return _span(bag, self.times_ns)

    def part(self, begin: int, end: int) -> "EpisodeRows":
        """Return the rows from `begin` up to `end`, which is not included."""
        own = slice(begin, end)
        return EpisodeRows(
            self.times_ns[own],
            self.instruction,
            {view: indices[own] for view, indices in self.images.items()},
            self.state[own],
            self.action[own],
            self.intervention[own],
        )


def grid_offsets(count: int, fps: int) -> NDArray[np.int64]:
    """Return the times of rows after the first one, [count] ns."""
    return (np.arange(count, dtype=np.int64) * NS_PER_S + fps // 2) // fps


def action_widths(contract: RobotContract) -> dict[str, int]:
    """Return action group -> number of its columns, for the groups that a bag can give.

    Raises:
        DatasetError: a group has a column that no joint determines.

    """
    widths = {}
    for name, group in contract.action_groups.items():
        if group.all_ignored:
            continue
        if group.ignored:
            raise DatasetError(
                f"action group '{name}' has columns that move nothing ({name}."
                f"{min(group.ignored)}), so a bag has no values for them: use a contract without "
                "them, for a checkpoint without them"
            )
        widths[name] = max(1, group.min_width)
    return widths


def runs_of_rows(bag: RobotBag, settings: RowSettings) -> tuple[list[EpisodeRows], list[str]]:
    """Return the rows of a bag that was read, cut at gaps and where the instruction changes.

    Returns:
        The runs of rows in sequence, and a line for each part that was left out.

    Raises:
        DatasetError: a stream is missing, or there is a gap and gaps are an error.

    """
    times = _grid(bag, settings)
    grid = _Grid(bag, settings, times)
    notes: list[str] = []
    return [grid.rows(*run) for run in grid.runs(notes)], notes


def _grid(bag: RobotBag, settings: RowSettings) -> NDArray[np.int64]:
    """Return the times of all rows: from the first to the last instant that all streams cover."""
    first: dict[str, int] = {}
    last: dict[str, int] = {}
    for view, stream in bag.images.items():
        if not len(stream):
            raise DatasetError(f"camera '{view}' has no images")
        first[f"camera '{view}'"] = int(stream.stamps_ns[0])
        last[f"camera '{view}'"] = int(stream.stamps_ns[-1])
    for joint in _measured_joints(bag.contract, settings):
        if joint not in bag.joints.stamps_ns:
            raise DatasetError(f"joint '{joint}' has no measured positions")
        stamps = bag.joints.stamps_ns[joint]
        first[f"joint '{joint}'"], last[f"joint '{joint}'"] = int(stamps[0]), int(stamps[-1])
    if settings.action == COMMANDS:
        for joint in _action_joints(bag.contract):
            if joint not in bag.commands.joints:
                raise DatasetError(
                    f"joint '{joint}' has no commands: record the topics of its controller or "
                    "committed_timeline, name the leader's topic with --leader, or use "
                    "--action from-state"
                )
            first[f"the commands of '{joint}'"] = bag.commands.since(joint)
            if bag.leader is not None and joint in bag.leader.stamps_ns:
                last[f"the leader's '{joint}'"] = int(bag.leader.stamps_ns[joint][-1])
    begin, end = max(first.values()), min(last.values())
    if begin > end:
        late, early = max(first, key=first.__getitem__), min(last, key=last.__getitem__)
        raise DatasetError(
            f"its streams do not overlap: {early} ends {ns_to_s(begin - end):.3f} s before {late} "
            "begins"
        )
    return begin + _phase(bag, begin, end, settings.fps)


def _phase(bag: RobotBag, begin: int, end: int, fps: int) -> NDArray[np.int64]:
    """Return the times of the rows after `begin`, so placed that the fewest repeat an image."""

    def offsets(phase: int) -> NDArray[np.int64]:
        shift = phase * NS_PER_S // (fps * _PHASES)
        # The last row may be at the very end, to the nanosecond.
        last = ((end - begin - shift + 1) * fps - fps // 2 - 1) // NS_PER_S
        return shift + grid_offsets(max(0, last) + 1, fps)

    def repeats(phase: int) -> int:
        times = begin + offsets(phase)
        newest = [np.searchsorted(s.stamps_ns, times, "right") for s in bag.images.values()]
        return sum(int((np.diff(own) == 0).sum()) for own in newest)

    return offsets(min(range(_PHASES), key=repeats))


class _Grid:
    """Inputs and commands at each time of the grid, and where they are missing."""

    def __init__(self, bag: RobotBag, settings: RowSettings, times: NDArray[np.int64]) -> None:
        self._bag = bag
        self._settings = settings
        self._times = times
        joints = _measured_joints(bag.contract, settings)
        self._images = {v: np.full(len(times), -1, dtype=np.int64) for v in bag.images}
        self._positions = {j: np.full(len(times), np.nan) for j in joints}
        #: Why a row cannot be used; empty for those that can.
        self._reasons = [""] * len(times)
        choices = live_choices(bag, joints, settings.tolerances, times)
        for row, choice in enumerate(choices):
            self._reasons[row] = choice.reason
            for view, index in choice.images.items():
                self._images[view][row] = index
            for joint, position in choice.positions.items():
                self._positions[joint][row] = position
        self._extend_gaps()
        self._action = self._actions()
        missing = "there is no command" if settings.action == COMMANDS else _NO_NEXT_STATE
        for row in np.flatnonzero(np.isnan(self._action).any(axis=1)).tolist():
            self._reasons[row] = self._reasons[row] or missing
        self._instructions = self._instruction_of_rows()
        for row, text in enumerate(self._instructions):
            if is_blank(text):
                self._reasons[row] = self._reasons[row] or _NO_INSTRUCTION

    def runs(self, notes: list[str]) -> Iterator[tuple[int, int, str]]:
        """Yield (begin, end, instruction) of rows in sequence; note the parts that are left out.

        Raises:
            DatasetError: there is a gap, but gaps are an error.

        """
        begin = 0
        rows = len(self._times)
        while begin < rows:
            key = (self._reasons[begin], self._instructions[begin])
            end = begin + 1
            while end < rows and (self._reasons[end], self._instructions[end]) == key:
                end += 1
            reason, instruction = key
            if not reason:
                yield begin, end, instruction
            elif reason != _NO_NEXT_STATE:
                line = f"{_span(self._bag, self._times[begin:end])}: left out, {reason}"
                if reason != _NO_INSTRUCTION and not self._settings.split_at_gaps:
                    raise DatasetError(line.replace("left out, ", ""))
                notes.append(line)
            begin = end

    def rows(self, begin: int, end: int, instruction: str) -> EpisodeRows:
        """Return the rows from `begin` up to `end`."""
        own = slice(begin, end)
        contract = self._bag.contract
        state = [
            contract.state_to_model(
                group, np.stack([self._positions[j][own] for j in joints], axis=1)
            )
            for group, joints in contract.state_groups.items()
        ]
        return EpisodeRows(
            self._times[own],
            instruction,
            {view: indices[own] for view, indices in self._images.items()},
            np.concatenate(state, axis=1),
            self._action[own],
            self._interventions()[own],
        )

    def _extend_gaps(self) -> None:
        """Count rows that repeat an image because of the gap that follows them as part of it."""
        for row in range(len(self._times) - 2, 0, -1):
            repeats = any(own[row] == own[row - 1] for own in self._images.values())
            if not self._reasons[row] and self._reasons[row + 1] and repeats:
                self._reasons[row] = self._reasons[row + 1]

    def _actions(self) -> Floats:
        contract = self._bag.contract
        from_state = self._settings.action == FROM_STATE
        columns = []
        for group, width in action_widths(contract).items():
            targets = []
            for joint in contract.action_groups[group].joints:
                if from_state:
                    # The last row has no next one.
                    targets.append(np.append(self._positions[joint][1:], np.nan))
                else:
                    targets.append(self._bag.commands.at(joint, self._times))
            columns.append(contract.action_to_model(group, np.stack(targets, axis=1), width))
        return np.concatenate(columns, axis=1)

    def _instruction_of_rows(self) -> list[str]:
        if self._settings.instruction:
            return [self._settings.instruction] * len(self._times)
        recorded = self._bag.instructions
        stamps = [stamp for stamp, _ in recorded]
        which = np.searchsorted(stamps, self._times, side="right") - 1
        before = self._bag.episode.instruction
        return [recorded[i][1] if i >= 0 else before for i in which]

    def _interventions(self) -> NDArray[np.bool_]:
        stamps = [stamp for stamp, _ in self._bag.interventions]
        which = np.searchsorted(stamps, self._times, side="right") - 1
        human = np.array([False, *(own for _, own in self._bag.interventions)])
        return human[which + 1]


def _measured_joints(contract: RobotContract, settings: RowSettings) -> tuple[str, ...]:
    """Return the joints whose measured positions are needed."""
    joints = [joint for own in contract.state_groups.values() for joint in own]
    if settings.action == FROM_STATE:
        joints += _action_joints(contract)
    return tuple(dict.fromkeys(joints))


def _action_joints(contract: RobotContract) -> tuple[str, ...]:
    return tuple(j for own in contract.action_groups.values() for j in own.joints)


def _span(bag: RobotBag, times: NDArray[np.int64]) -> str:
    begin, end = bag.since_start(int(times[0])), bag.since_start(int(times[-1]))
    return f"{begin:.3f} s" if len(times) == 1 else f"{begin:.3f} to {end:.3f} s"
