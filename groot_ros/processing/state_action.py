# SPDX-License-Identifier: Apache-2.0
"""Conversion of states and actions of one embodiment to the model's columns and back."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from groot_ros.core.config_reader import CheckpointError
from groot_ros.processing import pose
from groot_ros.processing.group_codec import Array, GroupCodec, Groups
from groot_ros.processing.modality import (
    ActionConfig,
    ActionFormat,
    ActionType,
    CodecConfig,
    Embodiment,
    Representation,
)
from groot_ros.processing.statistics import MeanStd, MinMax, SinCos, Statistics

POSE_WIDTH = 9

_ENDS = ("min", "max")


class StateActionCodec(GroupCodec):
    """Codec that normalises states and actions and decodes actions as the reference does.

    The horizon is the number of `delta_indices` of the action modality.
    """

    _state: Mapping[str, MinMax | MeanStd | SinCos]
    _action: Mapping[str, MinMax | MeanStd]

    def __init__(self, config: CodecConfig, embodiment: Embodiment, statistics: Statistics) -> None:
        self._config = config
        self._where = config.where
        self._embodiment = embodiment
        self.horizon = len(embodiment.action.delta_indices)
        states = {g: statistics.width("state", g) for g in embodiment.state.modality_keys}
        actions = {g: statistics.width("action", g) for g in embodiment.action.modality_keys}
        super().__init__(
            {g: (width, self._state_scheme(g, statistics)) for g, width in states.items()},
            {g: (width, self._action_scheme(g, width, statistics)) for g, width in actions.items()},
            horizon=self.horizon,
            padded=(config.max_state_dim, config.max_action_horizon, config.max_action_dim),
        )
        self._check_columns(statistics.where)

    def is_pose(self, group: str) -> bool:
        """Tell whether an action group is an end-effector pose of nine columns."""
        config = self._embodiment.action_config(group)
        return config.type is ActionType.EEF and self.action_widths[group] == POSE_WIDTH

    def reference(self, group: str) -> str | None:
        """Return the state group that an action group is relative to, None for absolute groups."""
        config = self._embodiment.action_config(group)
        if config.rep is not Representation.RELATIVE or not self._config.use_relative_action:
            return None
        return config.state_key or group

    def normalisation(self, modality: str, group: str) -> str:
        """Return how a group is normalised: "min/max", "q01/q99", "mean/std" or "sin/cos".

        Args:
            modality: "state" or "action".
            group: name of the group.

        """
        scheme = (self._state if modality == "state" else self._action)[group]
        if isinstance(scheme, MinMax):
            relative = modality == "action" and self.reference(group) is not None
            return "min/max" if relative or not self._config.use_percentiles else "q01/q99"
        return "mean/std" if isinstance(scheme, MeanStd) else "sin/cos"

    def trained_range(
        self, modality: str, group: str, statistics: Statistics
    ) -> tuple[Array, Array]:
        """Return the smallest and the largest value [D] of a group over all steps.

        They come from the statistics that the group is normalised with, so they are offsets for a
        relative group.

        Args:
            modality: "state" or "action".
            group: name of the group.
            statistics: statistics of the embodiment.

        """
        names = ("q01", "q99") if self.normalisation(modality, group) == "q01/q99" else _ENDS
        relative = modality == "action" and self.reference(group) is not None
        stored, widths = modality, getattr(self, f"{modality}_widths")
        if relative:
            stored = "relative_action"
        ends = [statistics.get(stored, group, n).reshape(-1, widths[group]) for n in names]
        return ends[0].min(axis=0), ends[1].max(axis=0)

    def rest(self, group: str, steps: int) -> Array:
        """Return a state [steps, D] in the middle of the training data (0 for sin/cos groups)."""
        scheme, width = self._state[group], self.state_widths[group]
        middle = (
            np.zeros(width)
            if isinstance(scheme, SinCos)
            else scheme.denormalise(np.zeros((1, width)))
        )
        return np.tile(middle, (steps, 1))

    def drawn(self, group: str, steps: int, rng: np.random.Generator) -> Array:
        """Draw a constant state [steps, D] within the statistics (any angle for sin/cos groups)."""
        scheme, width = self._state[group], self.state_widths[group]
        at = np.tile(rng.uniform(-1.0, 1.0, (1, width)), (steps, 1))
        return at * np.pi if isinstance(scheme, SinCos) else scheme.denormalise(at)

    def decode_action(
        self, action: NDArray[np.floating], state: Groups, frozen_steps: int = 0
    ) -> dict[str, NDArray[np.float32]]:
        """Convert the model's output to absolute actions.

        Args:
            action: [..., H, max_action_dim] (or only the columns in use), normalised.
            state: group -> [..., T, D] in the units of the checkpoint; the last step is the
                reference of relative groups.
            frozen_steps: leading steps that repeat committed motion. They are not clipped, so
                that they are reproduced exactly; the reference has no such steps.

        Returns:
            group -> float32 [..., horizon, D].

        """
        decoded, start = {}, 0
        for group, scheme in self._action.items():
            width = self.action_widths[group]
            values = np.asarray(
                action[..., : self.horizon, start : start + width], dtype=np.float64
            )
            start += width
            raw = scheme.denormalise(values)
            if frozen_steps and isinstance(scheme, MinMax):
                raw[..., :frozen_steps, :] = scheme.stretch(values)[..., :frozen_steps, :]
            absolute = self._to_absolute(group, raw, state)
            decoded[group] = absolute.astype(np.float32)
        return decoded

    def _to_relative(self, group: str, values: Array, state: Groups) -> Array:
        source = self.reference(group)
        if source is None:
            return values
        reference = self._reference_state(source, state)
        if self._embodiment.action_config(group).type is ActionType.EEF:
            return pose.relative_to(reference, values)
        return values - reference[..., None, :]

    def _to_absolute(self, group: str, values: Array, state: Groups) -> Array:
        source = self.reference(group)
        if source is None:
            return values
        reference = self._reference_state(source, state)
        if self._embodiment.action_config(group).type is ActionType.EEF:
            return pose.compose(reference, values)
        return values + reference[..., None, :]

    def _reference_state(self, group: str, state: Groups) -> Array:
        if group not in state:
            raise ValueError(f"state group '{group}' is missing: relative actions refer to it")
        return np.asarray(state[group], dtype=np.float64)[..., -1, :]

    def _state_scheme(self, group: str, statistics: Statistics) -> MinMax | MeanStd | SinCos:
        state = self._embodiment.state
        if self._config.apply_sincos_state_encoding and group in state.sin_cos_embedding_keys:
            return SinCos()
        if group in state.mean_std_embedding_keys:
            mean, std = (statistics.get("state", group, name) for name in ("mean", "std"))
            return MeanStd(mean, std, clip=False)
        low, high = self._limits()
        return MinMax(
            statistics.get("state", group, low),
            statistics.get("state", group, high),
            self._config.clip_outliers,
        )

    def _action_scheme(self, group: str, width: int, statistics: Statistics) -> MinMax | MeanStd:
        relative = self.reference(group) is not None
        modality = "relative_action" if relative else "action"
        clip = self._config.clip_outliers
        if group in self._embodiment.action.mean_std_embedding_keys:
            mean, std = (statistics.get(modality, group, name) for name in ("mean", "std"))
            scheme: MinMax | MeanStd = MeanStd(mean, std, clip)
            shape = mean.shape
        else:
            # In the reference, use_percentiles has no effect on relative groups.
            low, high = ("min", "max") if relative else self._limits()
            bounds = statistics.get(modality, group, low), statistics.get(modality, group, high)
            scheme = MinMax(*bounds, clip)
            shape = bounds[0].shape
        self._check_shape(group, width, modality, shape, statistics.where)
        return scheme

    def _limits(self) -> tuple[str, str]:
        return ("q01", "q99") if self._config.use_percentiles else ("min", "max")

    def _check_shape(
        self, group: str, width: int, modality: str, shape: tuple[int, ...], where: str
    ) -> None:
        if shape[-1] != width:
            raise CheckpointError(
                f"{where}: '{modality}.{group}' has {shape[-1]} columns, 'action.{group}' has "
                f"{width}"
            )
        if len(shape) == 2 and shape[0] < self.horizon:
            raise CheckpointError(
                f"{where}: '{modality}.{group}' has {shape[0]} steps, "
                f"the action's delta_indices has {self.horizon}"
            )

    def _check_columns(self, where: str) -> None:
        config = self._config
        used = sum(self.action_widths.values())
        if self.horizon > config.max_action_horizon:
            raise CheckpointError(
                f"{self._where}: 'max_action_horizon' is {config.max_action_horizon}, but the "
                f"action's delta_indices has {self.horizon} steps"
            )
        if used > config.max_action_dim:
            raise CheckpointError(
                f"{where}: actions have {used} columns, max_action_dim is {config.max_action_dim}"
            )
        expanded = sum(
            width * (2 if isinstance(self._state[group], SinCos) else 1)
            for group, width in self.state_widths.items()
        )
        if expanded > config.max_state_dim:
            raise CheckpointError(
                f"{where}: states have {expanded} columns, max_state_dim is {config.max_state_dim}"
            )
        for group in self.action_widths:
            self._check_relative(group, self._embodiment.action_config(group), where)

    def _check_relative(self, group: str, action: ActionConfig, where: str) -> None:
        source = self.reference(group)
        if source is None:
            return
        if source not in self.state_widths:
            raise CheckpointError(
                f"{self._where}: action '{group}' is relative to state '{source}', "
                f"which is not a state group ({', '.join(self.state_widths)})"
            )
        if self.state_widths[source] != self.action_widths[group]:
            raise CheckpointError(
                f"{where}: action '{group}' has {self.action_widths[group]} columns but is "
                f"relative to state '{source}' with {self.state_widths[source]}"
            )
        if action.type is ActionType.EEF and (
            action.format is not ActionFormat.XYZ_ROT6D or self.action_widths[group] != POSE_WIDTH
        ):
            raise CheckpointError(
                f"{self._where}: relative EEF action '{group}' must have format XYZ_ROT6D "
                f"and {POSE_WIDTH} columns, not {action.format.value} and "
                f"{self.action_widths[group]}"
            )
