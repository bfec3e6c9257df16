# SPDX-License-Identifier: Apache-2.0
"""Conversion of the states and actions of one embodiment to the model's columns and back."""

import logging
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from groot_ros.core.config_reader import CheckpointError
from groot_ros.families.family import GroupRange
from groot_ros.families.gr00t_n1d5.columns import ONE_WAY, ColumnGroup
from groot_ros.families.gr00t_n1d5.metadata import Layout

Array = NDArray[np.float64]
Groups = Mapping[str, NDArray[np.floating]]
#: Half of the float32 maximum, as an offset and a state may be added.
_LARGEST = float(np.finfo(np.float32).max) / 2
#: Normalised magnitude above which a state counts as far outside the training data.
_FAR = {"min_max": 3.0, "q99": 3.0, "mean_std": 10.0}

_log = logging.getLogger(__name__)


class StateActionCodec:
    """Codec that normalises states and actions and decodes actions as the reference does.

    Attributes:
        state, action: groups in the model's order.
        horizon: steps of an action chunk.

    """

    def __init__(
        self, layout: Layout, horizon: int, max_state_dim: int, max_action_dim: int
    ) -> None:
        self.state, self.action = layout.state, layout.action
        self.horizon = horizon
        self._widths = max_state_dim, max_action_dim
        self._warned: set[str] = set()
        used = sum(self.action_widths.values())
        if used > max_action_dim and not layout.truncates:
            raise CheckpointError(
                f"{layout.where}: actions have {used} columns, action_dim is {max_action_dim}"
            )
        for group in self.action:
            if group.scheme.mode in ONE_WAY or group.encoded_width != group.width:
                how = group.rotation[1] if group.rotation else group.scheme.mode
                raise CheckpointError(
                    f"{layout.where}: action '{group.name}' cannot be decoded from '{how}'"
                )

    @property
    def state_widths(self) -> dict[str, int]:
        """Return group -> raw columns of the state."""
        return {group.name: group.width for group in self.state}

    @property
    def action_widths(self) -> dict[str, int]:
        """Return group -> columns of the action."""
        return {group.name: group.width for group in self.action}

    @property
    def used_columns(self) -> int:
        """Return the number of action columns that are decoded."""
        return min(sum(self.action_widths.values()), self._widths[1])

    def ranges(self) -> Iterator[GroupRange]:
        """Yield the training range of each group."""
        for modality, groups in (("state", self.state), ("action", self.action)):
            for group in groups:
                yield GroupRange(
                    "state" if modality == "state" else "action",
                    group.name,
                    "",
                    group.scheme.name,
                    group.low,
                    group.high,
                    group.extremes,
                )

    def encode_state(self, state: Groups) -> NDArray[np.float32]:
        """Normalise a state, group -> [T, D], to [T, max_state_dim], zero-padded or cut.

        Values far outside the statistics are logged once per group; they are not clipped.

        Raises:
            ValueError: a group is missing, has the wrong width or contains a value that is not
                finite or too large.

        """
        columns = []
        for group in self.state:
            values = _checked(state, group, "state")
            scaled = group.encode(values)
            if group.name not in self._warned:
                self._warn_if_far(group, scaled, values)
            columns.append(_fits_float32("state", group, scaled))
        joined, width = np.concatenate(columns, axis=-1), self._widths[0]
        padded = np.zeros((len(joined), width), dtype=np.float32)
        padded[:, : joined.shape[1]] = joined[:, :width]
        return padded

    def encode_action(self, action: Groups) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Normalise absolute actions and return them with their mask.

        Args:
            action: group -> [T, D], T at most the horizon.

        Returns:
            The action and its mask, both [horizon, max_action_dim]; the mask is True on the T
            steps and the columns in use.

        Raises:
            ValueError: a group is missing, too long, misshapen or not finite.

        """
        columns = []
        for group in self.action:
            values = _checked(action, group, "action")
            if len(values) > self.horizon:
                raise ValueError(
                    f"action group '{group.name}' has {len(values)} steps, the horizon is "
                    f"{self.horizon}"
                )
            columns.append(_fits_float32("action", group, group.encode(values)))
        used = np.concatenate(columns, axis=-1)[:, : self._widths[1]]
        padded = np.zeros((self.horizon, self._widths[1]), dtype=np.float32)
        padded[: len(used), : used.shape[1]] = used
        mask = np.zeros(padded.shape, dtype=np.bool_)
        mask[: len(used), : used.shape[1]] = True
        return padded, mask

    def encode_prefix(self, action: Groups) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Normalise committed motion that a new chunk continues; nothing is clipped.

        Args:
            action: group -> [K, D] absolute actions; groups may be missing, and columns that are
                not known are NaN. A rotation that is converted is known as a whole or not at all.

        Returns:
            The values [K, columns in use] and a mask, bool [columns in use], that is False for
            missing groups and columns; their values are 0.

        Raises:
            ValueError: groups differ in steps, or one is too long, misshapen or not finite.

        """
        lengths = {len(values) for values in action.values()}
        steps = max(lengths, default=0)
        if len(lengths) > 1:
            raise ValueError(f"groups of a prefix differ in steps: {sorted(lengths)}")
        if steps > self.horizon:
            raise ValueError(f"the prefix has {steps} steps, the horizon is {self.horizon}")
        columns, known = [], []
        for group in self.action:
            unknown = np.ones(group.width, dtype=bool)
            scaled = np.zeros((steps, group.width))
            if group.name in action:
                unknown = np.atleast_1d(np.isnan(action[group.name]).all(axis=0))
                if group.rotation is not None:
                    unknown[:] = unknown.any()
                if not unknown.all():
                    complete = {group.name: np.where(unknown, 0.0, action[group.name])}
                    scaled = group.encode(_checked(complete, group, "action"), clip=False)
                    scaled = np.where(unknown, 0.0, scaled)
            known.append(~unknown)
            columns.append(scaled)
        used = self.used_columns
        values = np.concatenate(columns, axis=-1).astype(np.float32)[:, :used]
        return values, np.concatenate(known)[:used]

    def decode_action(self, action: NDArray[np.floating]) -> dict[str, NDArray[np.float32]]:
        """Convert the model's output [..., H, A] to group -> float32 [..., H, D]."""
        missing = sum(self.action_widths.values()) - action.shape[-1]
        if missing > 0:
            action = np.pad(action, [(0, 0)] * (action.ndim - 1) + [(0, missing)])
        decoded, start = {}, 0
        for group in self.action:
            own = action[..., : self.horizon, start : start + group.width]
            start += group.width
            decoded[group.name] = group.decode(own.astype(np.float64)).astype(np.float32)
        return decoded

    def rest(self, group: ColumnGroup, steps: int) -> Array:
        """Return a state [steps, D] in the middle of the training data."""
        return np.tile((group.low + group.high) / 2.0, (steps, 1))

    def drawn(self, group: ColumnGroup, steps: int, rng: np.random.Generator) -> Array:
        """Draw a constant state [steps, D] within the training data."""
        return np.tile(rng.uniform(group.low, group.high), (steps, 1))

    def _warn_if_far(self, group: ColumnGroup, scaled: Array, values: Array) -> None:
        limit = _FAR.get(group.scheme.mode)
        if limit is None or group.rotation is not None:
            return
        distance = np.abs(scaled).max(axis=0)
        worst = int(distance.argmax())
        if distance[worst] > limit:
            self._warned.add(group.name)
            _log.warning(
                "state '%s' column %d is %.4g, far outside the training data; "
                "check units and calibration (reported once)",
                group.name,
                worst,
                values[-1, worst],
            )


def _checked(groups: Groups, group: ColumnGroup, what: str) -> Array:
    if group.name not in groups:
        raise ValueError(f"{what} group '{group.name}' is missing; given: {', '.join(groups)}")
    values = np.asarray(groups[group.name], dtype=np.float64)
    if values.ndim != 2 or values.shape[1] != group.width:
        raise ValueError(
            f"{what} group '{group.name}' must be [T, {group.width}], not {list(values.shape)}"
        )
    if not np.isfinite(values).all():
        raise ValueError(f"{what} group '{group.name}' holds values that are not finite")
    return values


def _fits_float32(what: str, group: ColumnGroup, scaled: Array) -> Array:
    if len(large := np.argwhere(~(np.abs(scaled) <= _LARGEST))):
        raise ValueError(
            f"{what} group '{group.name}' is too large for float32 after normalisation, in column "
            f"{large[0][1]} of the model (at most {_LARGEST:.2g})"
        )
    return scaled


def group_names(groups: Sequence[ColumnGroup]) -> tuple[str, ...]:
    """Return the names of groups, in order."""
    return tuple(group.name for group in groups)
