"""Modalities of an embodiment: cameras, state and action groups, and how each is represented."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from groot_ros.core.config_reader import Fields


class Representation(str, Enum):
    """Of an action group; DELTA is accepted but, as in the reference, treated as ABSOLUTE."""

    RELATIVE = "RELATIVE"
    DELTA = "DELTA"
    ABSOLUTE = "ABSOLUTE"


class ActionType(str, Enum):
    """Joints, or the pose of an end effector."""

    EEF = "EEF"
    NON_EEF = "NON_EEF"


class ActionFormat(str, Enum):
    """Columns of an action group."""

    DEFAULT = "DEFAULT"
    XYZ_ROT6D = "XYZ_ROT6D"
    XYZ_ROTVEC = "XYZ_ROTVEC"


@dataclass(frozen=True)
class ActionConfig:
    """How one action group is represented; `state_key` names the state it is relative to."""

    rep: Representation = Representation.ABSOLUTE
    type: ActionType = ActionType.NON_EEF
    format: ActionFormat = ActionFormat.DEFAULT
    state_key: str | None = None

    @classmethod
    def parse(cls, f: Fields) -> "ActionConfig":
        """Enums are stored by their upper-case name."""
        return cls(
            _member(f, "rep", Representation),
            _member(f, "type", ActionType),
            _member(f, "format", ActionFormat),
            f.text("state_key") if f.has("state_key") else None,
        )


@dataclass(frozen=True)
class ModalityConfig:
    """Which steps and which groups of one modality are used.

    Attributes:
        delta_indices: steps relative to the present one.
        modality_keys: groups (or views), in the order of the model's columns.
        sin_cos_embedding_keys, mean_std_embedding_keys: groups that are not min/max normalised.
        action_configs: parallel to modality_keys, or None (all absolute).

    """

    delta_indices: tuple[int, ...]
    modality_keys: tuple[str, ...]
    sin_cos_embedding_keys: tuple[str, ...] = ()
    mean_std_embedding_keys: tuple[str, ...] = ()
    action_configs: tuple[ActionConfig, ...] | None = None

    @classmethod
    def parse(cls, f: Fields) -> "ModalityConfig":
        """From one modality of one embodiment."""
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
        """From one tag of `modality_configs`."""
        return cls(
            ModalityConfig.parse(f.section("video")),
            _with_groups(f.section("state")),
            _with_groups(f.section("action")),
            ModalityConfig.parse(f.section("language")) if f.has("language") else None,
        )

    def action_config(self, group: str) -> ActionConfig:
        """Of one action group."""
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
    """How states and actions become the model's columns; the defaults are the reference's.

    Attributes:
        max_state_dim, max_action_dim: columns of the model; groups in use are padded to them.
        max_action_horizon: steps that an encoded action is padded to.
        use_percentiles: normalise by q01 and q99 instead of minimum and maximum.
        clip_outliers: clip normalised values to [-1, 1].
        apply_sincos_state_encoding: encode state groups listed for it as sine and cosine.
        use_relative_action: treat groups that are RELATIVE as offsets from the state.
        where: file that errors name.

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
