# SPDX-License-Identifier: Apache-2.0
"""Encoding of named groups of states and actions as the model's columns."""

import logging
from collections.abc import Mapping
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Groups = Mapping[str, NDArray[np.floating]]

_log = logging.getLogger(__name__)
#: Half of the float32 maximum, as an offset and a state may be added.
_LARGEST = float(np.finfo(np.float32).max) / 2


class Scheme(Protocol):
    """Normalisation of one group of columns."""

    @property
    def far(self) -> float:
        """Return the normalised magnitude above which a state is far outside the training data."""

    def scale(self, values: Array) -> Array:
        """Normalise values [..., T, D] without clipping; the number of columns may change."""

    def limit(self, scaled: Array) -> Array:
        """Clip normalised values as in training, if at all."""


class GroupCodec:
    """Encoder of states, actions and prefixes; subclasses decode actions.

    Attributes:
        state_widths, action_widths: group -> columns, in the model's order.
        horizon: steps of an action chunk.

    """

    def __init__(
        self,
        state: Mapping[str, tuple[int, Scheme]],
        action: Mapping[str, tuple[int, Scheme]],
        *,
        horizon: int,
        padded: tuple[int, int, int],
    ) -> None:
        """Take the groups in the model's order.

        Args:
            state: group -> number of columns, normalisation.
            action: the same for actions.
            horizon: steps of an action chunk.
            padded: columns of the model's state, steps and columns of its action.

        """
        self.state_widths = {group: width for group, (width, _) in state.items()}
        self.action_widths = {group: width for group, (width, _) in action.items()}
        self.horizon = horizon
        self._state: Mapping[str, Scheme] = {g: scheme for g, (_, scheme) in state.items()}
        self._action: Mapping[str, Scheme] = {g: scheme for g, (_, scheme) in action.items()}
        self._state_columns, *self._action_shape = padded
        self._warned: set[str] = set()

    @property
    def used_columns(self) -> int:
        """Return the number of action columns that are decoded."""
        return min(sum(self.action_widths.values()), self._action_shape[1])

    def encode_state(self, state: Groups) -> NDArray[np.float32]:
        """Normalise a state, group -> [T, D], to [T, max_state_dim], zero-padded or cut.

        Values far outside the statistics are logged once per group, and clipped as the reference
        does.

        Raises:
            ValueError: a group is missing, has the wrong width or contains a value that is not
                finite or too large.

        """
        columns = []
        for group, scheme in self._state.items():
            values = _checked(state, group, self.state_widths[group], "state")
            scaled = scheme.scale(values)
            if group not in self._warned:
                self._warn_if_far(group, scheme.far, scaled, values)
            limited = scheme.limit(scaled)
            _require_float32("state", group, limited, values)
            columns.append(limited)
        joined = np.concatenate(columns, axis=-1)[:, : self._state_columns]
        padded = np.zeros((len(joined), self._state_columns), dtype=np.float32)
        padded[:, : joined.shape[1]] = joined
        return padded

    def encode_action(
        self, action: Groups, state: Groups | None = None
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Normalise absolute actions and return them with their mask.

        Args:
            action: group -> [T, D], T at most the horizon.
            state: group -> [T, D]; the last step is the reference of relative groups.

        Returns:
            The action and its mask, padded to the model's steps and columns; the mask is 1 on the
            T steps and the columns in use.

        Raises:
            ValueError: a group is missing, too long, misshapen or not finite.

        """
        columns = []
        for group, scheme in self._action.items():
            values = _checked(action, group, self.action_widths[group], "action")
            if len(values) > self.horizon:
                raise ValueError(
                    f"action group '{group}' has {len(values)} steps, the horizon is {self.horizon}"
                )
            scaled = scheme.limit(scheme.scale(self._to_relative(group, values, state or {})))
            _require_float32("action", group, scaled, values)
            columns.append(scaled)
        used = np.concatenate(columns, axis=-1)[:, : self._action_shape[1]]
        steps, width = used.shape
        padded = np.zeros(self._action_shape, dtype=np.float32)
        mask = np.zeros_like(padded)
        padded[:steps, :width] = used
        mask[:steps, :width] = 1.0
        return padded, mask

    def encode_prefix(
        self, action: Groups, state: Groups | None = None
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Normalise committed motion that a new chunk continues.

        Nothing is clipped, as the motion may lie outside the statistics.

        Args:
            action: group -> [K, D] absolute actions; groups may be missing, and columns that are
                not known are NaN.
            state: group -> [T, D] of the new chunk; its last step is the reference of relative
                groups.

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
        for group, scheme in self._action.items():
            width = self.action_widths[group]
            unknown, scaled = np.ones(width, dtype=bool), np.zeros((steps, width))
            if group in action:
                unknown = self._unknown(group, action[group])
                complete = {group: np.where(unknown, 0.0, action[group])}
                values = _checked(complete, group, width, "action")
                if not unknown.all():
                    scaled = scheme.scale(self._to_relative(group, values, state or {}))
            known.append(~unknown)
            columns.append(np.where(unknown, 0.0, scaled))
        used = self.used_columns
        joined = np.concatenate(columns, axis=-1).astype(np.float32)
        return joined[:, :used], np.concatenate(known)[:used]

    def _unknown(self, group: str, values: NDArray[np.floating]) -> NDArray[np.bool_]:
        """Return the columns of a group of a prefix [K, D] that are not known, bool [D]."""
        return np.atleast_1d(np.isnan(values).all(axis=0))

    def _to_relative(self, group: str, values: Array, state: Groups) -> Array:
        """Return absolute actions [T, D] of a group as the offsets that the model predicts."""
        return values

    def _warn_if_far(self, group: str, limit: float, scaled: Array, values: Array) -> None:
        distance = np.abs(scaled).max(axis=0)
        worst = int(distance.argmax())
        if distance[worst] > limit:
            self._warned.add(group)
            _log.warning(
                "state '%s' column %d is %.4g, far outside the training data; "
                "check units and calibration (reported once)",
                group,
                worst,
                values[-1, worst],
            )


def _checked(groups: Groups, group: str, width: int, what: str) -> Array:
    if group not in groups:
        raise ValueError(f"{what} group '{group}' is missing; given: {', '.join(groups)}")
    values = np.asarray(groups[group], dtype=np.float64)
    if values.ndim != 2 or values.shape[1] != width:
        raise ValueError(f"{what} group '{group}' must be [T, {width}], not {list(values.shape)}")
    if not np.isfinite(values).all():
        raise ValueError(f"{what} group '{group}' holds values that are not finite")
    _require_float32(what, group, values, values)
    return values


def _require_float32(what: str, group: str, scaled: Array, values: Array) -> None:
    """Raise ValueError naming the value whose raw or normalised magnitude exceeds `_LARGEST`.

    `values` are the raw values [T, D] to name in the message, `scaled` those to check.
    """
    if len(large := np.argwhere(np.abs(scaled) > _LARGEST)):
        step, column = large[0]
        column %= values.shape[1]
        raise ValueError(
            f"{what} group '{group}' column {column} is {values[step, column]:g}: too large for "
            f"float32, raw or normalised (at most {_LARGEST:.2g})"
        )
    if np.isnan(scaled).any():
        raise ValueError(f"{what} group '{group}' is not a rotation, so it cannot be converted")
