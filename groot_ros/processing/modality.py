# SPDX-License-Identifier: Apache-2.0
"""Modalities of an embodiment: cameras, state and action groups, and how each is represented."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from groot_ros.core.config_reader import Fields


class Representation(str, Enum):
    """Representation of an action group; DELTA is treated as ABSOLUTE, as in the reference."""

    RELATIVE = "RELATIVE"
    DELTA = "DELTA"
    ABSOLUTE = "ABSOLUTE"


class ActionType(str, Enum):
    """Type of an action group: the pose of an end effector (EEF), or anything else, as joints."""

    EEF = "EEF"
    NON_EEF = "NON_EEF"


class ActionFormat(str, Enum):
    """Format of the columns of an action group."""

    DEFAULT = "DEFAULT"
    XYZ_ROT6D = "XYZ_ROT6D"
    XYZ_ROTVEC = "XYZ_ROTVEC"


@dataclass(frozen=True)
class ActionConfig:
    """Representation of one action group; `state_key` names the state it is relative to."""

    rep: Representation = Representation.ABSOLUTE
    type: ActionType = ActionType.NON_EEF
    format: ActionFormat = ActionFormat.DEFAULT
    state_key: str | None = None

    @classmethod
    def parse(cls, f: Fields) -> "ActionConfig":
        """Read one entry of `action_configs`; enums are stored by their upper-case name."""
        return cls(
            _member(f, "rep", Representation),
            _member(f, "type", ActionType),
            _member(f, "format", ActionFormat),
            f.text("state_key") if f.has("state_key") else None,
        )


@dataclass(frozen=True)
class ModalityConfig:
    """Steps and groups of one modality that the model uses.

    Attributes:
        delta_indices: steps relative to the current one.
        modality_keys: groups (or views), in the order of the model's columns.
        sin_cos_embedding_keys: groups encoded as sine and cosine instead of min/max.
        mean_std_embedding_keys: groups normalised by mean and deviation instead of min/max.
        action_configs: one per entry of modality_keys; None = all absolute.

    """

    delta_indices: tuple[int, ...]
    modality_keys: tuple[str, ...]
    sin_cos_embedding_keys: tuple[str, ...] = ()
    mean_std_embedding_keys: tuple[str, ...] = ()
    action_configs: tuple[ActionConfig, ...] | None = None

    @classmethod
    def parse(cls, f: Fields) -> "ModalityConfig":
        """Read one modality of one embodiment."""
        keys = f.items("modality_keys", str)
        repeated = sorted({key for key in keys if keys.count(key) > 1})
        if repeated:
            raise f.error("modality_keys", f"names {', '.join(repeated)} more than once")
        deltas = f.items("delta_indices", int)
        if not deltas:
            raise f.error("delta_indices", "is empty")
        configs = None
        if f.has("action_configs"):
            entries = f.items("action_configs", Mapping)
            if len(entries) != len(keys):
                raise f.error(
                    "action_configs", f"has {len(entries)} entries for {len(keys)} groups"
                )
            where = f"{f.where}.action_configs"
            configs = tuple(ActionConfig.parse(Fields(entry, where)) for entry in entries)
        return cls(
            deltas,
            keys,
            f.items("sin_cos_embedding_keys", str, ()),
            f.items("mean_std_embedding_keys", str, ()),
            configs,
        )


@dataclass(frozen=True)
class Embodiment:
    """The modalities of one embodiment."""

    video: ModalityConfig
    state: ModalityConfig
    action: ModalityConfig
    language: ModalityConfig | None = None

    @classmethod
    def parse(cls, f: Fields) -> "Embodiment":
        """Read the entry of one tag in `modality_configs`."""
        return cls(
            ModalityConfig.parse(f.section("video")),
            _with_groups(f.section("state")),
            _with_groups(f.section("action")),
            ModalityConfig.parse(f.section("language")) if f.has("language") else None,
        )

    def action_config(self, group: str) -> ActionConfig:
        """Return the representation of one action group."""
        if self.action.action_configs is None:
            return ActionConfig()
        return self.action.action_configs[self.action.modality_keys.index(group)]


def _with_groups(f: Fields) -> ModalityConfig:
    modality = ModalityConfig.parse(f)
    if not modality.modality_keys:
        raise f.error("modality_keys", "is empty")
    return modality


@dataclass(frozen=True)
class CodecConfig:
    """Encoding of states and actions as columns of the model; the defaults are the reference's.

    Attributes:
        max_state_dim, max_action_dim: columns of the model; the groups are padded to this width.
        max_action_horizon: steps that an encoded action is padded to.
        use_percentiles: normalise by q01 and q99 instead of minimum and maximum.
        clip_outliers: clip normalised values to [-1, 1].
        apply_sincos_state_encoding: encode the groups in `sin_cos_embedding_keys` of the state as
            sine and cosine.
        use_relative_action: treat RELATIVE groups as offsets from the state.
        where: name of the file in error messages.

    """

    max_state_dim: int = 29
    max_action_dim: int = 29
    max_action_horizon: int = 40
    use_percentiles: bool = False
    clip_outliers: bool = True
    apply_sincos_state_encoding: bool = False
    use_relative_action: bool = False
    where: str = field(default="", compare=False)


def _member(f: Fields, key: str, kind: type[Enum]) -> Any:
    name = f.text(key)
    if name not in kind.__members__:
        raise f.error(key, f"must be one of {', '.join(kind.__members__)}, not '{name}'")
    return kind[name]
