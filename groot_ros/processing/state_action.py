# SPDX-License-Identifier: Apache-2.0
"""Conversion of states and actions of one embodiment to the model's columns and back."""

import logging
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from groot_ros.core.config_reader import CheckpointError
from groot_ros.processing import pose
from groot_ros.processing.modality import (
    ActionConfig,
    ActionFormat,
    ActionType,
    CodecConfig,
    Embodiment,
    Representation,
)
from groot_ros.processing.statistics import MeanStd, MinMax, SinCos, Statistics

Array = NDArray[np.float64]
Groups = Mapping[str, NDArray[np.floating]]
POSE_WIDTH = 9

_log = logging.getLogger(__name__)
_ENDS = ("min", "max")
#: Half of the float32 maximum, as an offset and a state may be added.
_LARGEST = float(np.finfo(np.float32).max) / 2
#: Normalised magnitude above which a state counts as far outside the training data: one whole
#: range beyond its limits, or 10 sigma from the mean.
_FAR = {MinMax: 3.0, MeanStd: 10.0}


class StateActionCodec:
    """Codec that normalises states and actions and decodes actions as the reference does.

    Attributes:
        state_widths, action_widths: group -> columns, in the model's order.
        horizon: steps of an action chunk (`delta_indices` of the action modality).

    """

    def __init__(self, config: CodecConfig, embodiment: Embodiment, statistics: Statistics) -> None:
        self._config = config
        self._where = config.where
        self._embodiment = embodiment
        self._warned: set[str] = set()
        self.state_widths = {
            group: statistics.width("state", group) for group in embodiment.state.modality_keys
        }
        self.action_widths = {
            group: statistics.width("action", group) for group in embodiment.action.modality_keys
        }
        self.horizon = len(embodiment.action.delta_indices)
        self._state = {group: self._state_scheme(group, statistics) for group in self.state_widths}
        self._action = {
            group: self._action_scheme(group, statistics) for group in self.action_widths
        }
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

    def encode_state(self, state: Groups) -> NDArray[np.float32]:
        """Normalise a state, group -> [T, D], to [T, max_state_dim], zero-padded on the right.

        Values far outside the statistics are logged once per group, and clipped as the reference
        does.

        Raises:
            ValueError: a group is missing, has the wrong width or contains a value that is not
                finite or too large.

        """
        columns = []
        for group, scheme in self._state.items():
            values = self._checked(state, group, self.state_widths[group], "state")
            scaled = scheme.scale(values)
            if not isinstance(scheme, SinCos) and group not in self._warned:
                self._warn_if_far(group, _FAR[type(scheme)], scaled, values)
            limited = scheme.limit(scaled)
            _require_float32("state", group, limited, values)
            columns.append(limited)
        return _pad(np.concatenate(columns, axis=-1), self._config.max_state_dim)

    def encode_action(
        self, action: Groups, state: Groups
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Normalise absolute actions and return them with their mask.

        Args:
            action: group -> [T, D], T at most the horizon.
            state: group -> [T, D]; the last step is the reference of relative groups.

        Returns:
            The action and its mask, both [max_action_horizon, max_action_dim]; the mask is 1 on
            the T steps and the columns in use.

        Raises:
            ValueError: a group is missing, too long, misshapen or not finite.

        """
        columns = []
        for group, scheme in self._action.items():
            values = self._checked(action, group, self.action_widths[group], "action")
            if len(values) > self.horizon:
                raise ValueError(
                    f"action group '{group}' has {len(values)} steps, the horizon is {self.horizon}"
                )
            columns.append(scheme.normalise(self._to_relative(group, values, state)))
        used = np.concatenate(columns, axis=-1)
        steps, width = used.shape
        padded = np.zeros(
            (self._config.max_action_horizon, self._config.max_action_dim), dtype=np.float32
        )
        mask = np.zeros_like(padded)
        padded[:steps, :width] = used
        mask[:steps, :width] = 1.0
        return padded, mask

    def encode_prefix(
        self, action: Groups, state: Groups
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
            if group not in action:
                known.append(np.zeros(width, dtype=bool))
                columns.append(np.zeros((steps, width)))
                continue
            unknown = np.atleast_1d(np.isnan(action[group]).all(axis=0))
            known.append(~unknown)
            complete = {group: np.where(unknown, 0.0, action[group])}
            values = self._checked(complete, group, width, "action")
            unclipped = replace(scheme, clip=False)
            scaled = unclipped.normalise(self._to_relative(group, values, state))
            columns.append(np.where(unknown, 0.0, scaled))
        return np.concatenate(columns, axis=-1).astype(np.float32), np.concatenate(known)

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

    def _action_scheme(self, group: str, statistics: Statistics) -> MinMax | MeanStd:
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
        self._check_shape(group, modality, shape, statistics.where)
        return scheme

    def _limits(self) -> tuple[str, str]:
        return ("q01", "q99") if self._config.use_percentiles else ("min", "max")

    def _check_shape(self, group: str, modality: str, shape: tuple[int, ...], where: str) -> None:
        width = self.action_widths[group]
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

    def _checked(self, groups: Groups, group: str, width: int, what: str) -> Array:
        if group not in groups:
            raise ValueError(f"{what} group '{group}' is missing; given: {', '.join(groups)}")
        values = np.asarray(groups[group], dtype=np.float64)
        if values.ndim != 2 or values.shape[1] != width:
            raise ValueError(
                f"{what} group '{group}' must be [T, {width}], not {list(values.shape)}"
            )
        if not np.isfinite(values).all():
            raise ValueError(f"{what} group '{group}' holds values that are not finite")
        _require_float32(what, group, values, values)
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


def _pad(columns: Array, width: int) -> NDArray[np.float32]:
    padded = np.zeros((len(columns), width), dtype=np.float32)
    padded[:, : columns.shape[1]] = columns
    return padded
