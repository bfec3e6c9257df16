# SPDX-License-Identifier: Apache-2.0
"""Rest at the ends of an episode, and what makes rows unfit as an episode.

A policy that is trained on rest learns to stay at rest, but without any rest at the end it never
learns to stop there.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from groot_ros.bags.recording import RobotBag
from groot_ros.datasets.rows import EpisodeRows, RowSettings, action_widths
from groot_ros.robot import RobotContract

#: A joint rests while it moves less than this within _REST_ROWS rows: rad, m.
_REST_ANGLE, _REST_TRAVEL, _REST_ROWS = 0.01, 0.001, 5


def trim_idle(
    rows: EpisodeRows, bag: RobotBag, settings: RowSettings, notes: list[str]
) -> EpisodeRows:
    """Leave out rest at the start, and at the end all but `horizon` rows of it."""
    moving = _moving(rows, bag.contract)
    if not moving.any():
        return rows
    first = int(moving.argmax())
    last = len(moving) - 1 - int(moving[::-1].argmax()) + _REST_ROWS
    end = min(len(rows), last + 1 + settings.horizon)
    if first or end < len(rows):
        notes.append(
            f"{rows.span(bag)}: left out {first} rows of rest at the start and "
            f"{len(rows) - end} at the end"
        )
    return rows.part(first, end)


def _moving(rows: EpisodeRows, contract: RobotContract) -> NDArray[np.bool_]:
    """Return for each row but the last few whether a joint moves within the next _REST_ROWS.

    It depends on these rows only, so trimming a trimmed episode changes nothing.
    """
    if len(rows) <= _REST_ROWS:
        return np.zeros(0, dtype=bool)
    moving = np.zeros(len(rows) - _REST_ROWS, dtype=bool)
    column = 0
    for group, joints in contract.state_groups.items():
        values = contract.state_to_si(group, rows.state[:, column : column + len(joints)])
        moving |= _moves(values, contract, joints)
        column += len(joints)
    column = 0
    for group, width in action_widths(contract).items():
        values = contract.action_to_si(group, rows.action[:, column : column + width])
        moving |= _moves(values, contract, contract.action_groups[group].joints)
        column += width
    return moving


def _moves(
    values: NDArray[np.float64], contract: RobotContract, joints: Sequence[str]
) -> NDArray[np.bool_]:
    limits = [_REST_TRAVEL if contract.joints[j].unit == "m" else _REST_ANGLE for j in joints]
    windows = np.lib.stride_tricks.sliding_window_view(values, _REST_ROWS + 1, axis=0)
    return np.asarray((np.ptp(windows, axis=-1) > np.array(limits)).any(axis=1))


def episode_problem(rows: EpisodeRows, bag: RobotBag, settings: RowSettings) -> str:
    """Return why rows cannot be an episode, or an empty string."""
    if len(rows) < max(2, settings.horizon):
        return f"it has {len(rows)} rows, fewer than the horizon of {settings.horizon}"
    if settings.trim_idle and not _moving(rows, bag.contract).any():
        return "nothing moves (keep it with --keep-idle)"
    for view, indices in rows.images.items():
        share = float((np.diff(indices) == 0).mean())
        if share > settings.max_duplicates:
            rate = settings.fps * (1 - share)
            return (
                f"{share:.0%} of its rows repeat the image of camera '{view}', which delivered "
                f"about {rate:.0f} Hz: use --fps {max(1, round(rate))}, or a faster camera"
            )
    return ""
