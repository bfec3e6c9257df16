# SPDX-License-Identifier: Apache-2.0
"""Conversion of the states and actions of one embodiment to the model's columns and back."""

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from groot_ros.core.config_reader import CheckpointError
from groot_ros.families.family import GroupRange
from groot_ros.families.gr00t_n1d5.columns import ONE_WAY, ColumnGroup
from groot_ros.families.gr00t_n1d5.metadata import Layout
from groot_ros.processing.group_codec import Array, GroupCodec


class StateActionCodec(GroupCodec):
    """Codec that normalises states and actions and decodes actions as the reference does."""

    _state: Mapping[str, ColumnGroup]
    _action: Mapping[str, ColumnGroup]

    def __init__(
        self, layout: Layout, horizon: int, max_state_dim: int, max_action_dim: int
    ) -> None:
        super().__init__(
            {group.name: (group.width, group) for group in layout.state},
            {group.name: (group.width, group) for group in layout.action},
            horizon=horizon,
            padded=(max_state_dim, horizon, max_action_dim),
        )
        used = sum(self.action_widths.values())
        if used > max_action_dim and not layout.truncates:
            raise CheckpointError(
                f"{layout.where}: actions have {used} columns, action_dim is {max_action_dim}"
            )
        for group in layout.action:
            if group.scheme.mode in ONE_WAY or group.encoded_width != group.width:
                how = group.rotation[1] if group.rotation else group.scheme.mode
                raise CheckpointError(
                    f"{layout.where}: action '{group.name}' cannot be decoded from '{how}'"
                )

    def ranges(self) -> Iterator[GroupRange]:
        """Yield the training range of each group."""
        for group in self._state.values():
            yield group.range("state")
        for group in self._action.values():
            yield group.range("action")

    def decode_action(self, action: NDArray[np.floating]) -> dict[str, NDArray[np.float32]]:
        """Convert the model's output [..., H, A] to group -> float32 [..., H, D].

        Columns that the model lacks are taken as 0.
        """
        missing = sum(self.action_widths.values()) - action.shape[-1]
        if missing > 0:
            action = np.pad(action, [(0, 0)] * (action.ndim - 1) + [(0, missing)])
        decoded, start = {}, 0
        for name, group in self._action.items():
            own = action[..., : self.horizon, start : start + group.width]
            start += group.width
            decoded[name] = group.decode(own.astype(np.float64)).astype(np.float32)
        return decoded

    def rest(self, group: str, steps: int) -> Array:
        """Return a state [steps, D] in the middle of the training data."""
        own = self._state[group]
        return np.tile((own.low + own.high) / 2.0, (steps, 1))

    def drawn(self, group: str, steps: int, rng: np.random.Generator) -> Array:
        """Draw a constant state [steps, D] within the training data."""
        own = self._state[group]
        return np.tile(rng.uniform(own.low, own.high), (steps, 1))

    def _unknown(self, group: str, values: NDArray[np.floating]) -> NDArray[np.bool_]:
        """See `GroupCodec`; a rotation that is converted is known as a whole or not at all."""
        unknown = super()._unknown(group, values)
        if self._action[group].rotation is not None:
            unknown[:] = unknown.any()
        return unknown
