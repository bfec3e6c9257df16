# SPDX-License-Identifier: Apache-2.0
"""Data configurations: which views and groups a checkpoint uses, in which order, and how.

NVIDIA's checkpoints do not contain them: they are classes of the training code, selected by name.
The published ones are built in. A checkpoint of another one can contain
`experiment_cfg/data_config.json`; without it the groups of metadata.json are used in their order.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from groot_ros.core.config_reader import Fields
from groot_ros.families.gr00t_n1d5.columns import MODES
from groot_ros.families.gr00t_n1d5.rotations import WIDTHS

#: File in the directory of metadata.json.
FILE = "data_config.json"
CROP = 0.95


@dataclass(frozen=True)
class DataConfig:
    """Views and groups of one embodiment.

    Attributes:
        video, state, action: names in the model's order.
        state_modes, action_modes: group -> normalisation (`columns.MODES`); groups that are not
            listed pass through unchanged.
        state_rotations, action_rotations: group -> representation that the model uses.
        crop: part of each side of an image that is kept.

    """

    video: tuple[str, ...]
    state: tuple[str, ...]
    action: tuple[str, ...]
    state_modes: Mapping[str, str] = field(default_factory=dict)
    action_modes: Mapping[str, str] = field(default_factory=dict)
    state_rotations: Mapping[str, str] = field(default_factory=dict)
    action_rotations: Mapping[str, str] = field(default_factory=dict)
    crop: float = CROP

    @classmethod
    def parse(cls, f: Fields) -> "DataConfig":
        """Parse a file as `to_json` writes it; a CheckpointError names the key."""
        state, action = f.names("state"), f.names("action")
        config = cls(
            f.names("video"),
            state,
            action,
            _choices(f, "state_modes", state, MODES[1:]),
            _choices(f, "action_modes", action, MODES[1:]),
            _choices(f, "state_rotations", state, tuple(WIDTHS)),
            _choices(f, "action_rotations", action, tuple(WIDTHS)),
            f.number("crop", CROP, above=0.0, at_most=1.0),
        )
        f.finish()
        return config

    def to_json(self) -> dict[str, Any]:
        """Return the contents of a file that `parse` reads."""
        return {
            name: list(value)
            if isinstance(value, tuple)
            else dict(value)
            if isinstance(value, Mapping)
            else value
            for name, value in vars(self).items()
        }


def _choices(
    f: Fields, key: str, groups: tuple[str, ...], valid: tuple[str, ...]
) -> dict[str, str]:
    section = f.section(key, {})
    for group in section.value:
        if group not in groups:
            raise section.error(group, f"is not a group (known: {', '.join(groups)})")
    given = (group for group in section.value if section.value[group] != "")
    return {group: section.choice(group, valid) for group in given}


def _all(mode: str, *groups: str) -> dict[str, str]:
    return dict.fromkeys(groups, mode)


_ARMS = ("left_arm", "right_arm", "left_hand", "right_hand")
_LEGS = ("left_leg", "right_leg", "waist")
_BODY = (*_ARMS, "waist", "neck")
_SO100 = ("single_arm", "gripper")
_PANDA = (
    "end_effector_position_relative",
    "end_effector_rotation_relative",
    "gripper_qpos",
    "base_position",
    "base_rotation",
)
_GENIE = (
    "left_arm_joint_position",
    "right_arm_joint_position",
    "left_effector_position",
    "right_effector_position",
    "head_position",
    "waist_position",
)


def _plain(
    video: tuple[str, ...], state: tuple[str, ...], action: tuple[str, ...], mode: str = "min_max"
) -> DataConfig:
    return DataConfig(video, state, action, _all(mode, *state), _all("min_max", *action))


def _bimanual_panda(view: str, state_hand: str, action_hand: str, mode: str) -> DataConfig:
    sides = ("right", "left")
    parts = [(f"{s}_arm_eef_pos", f"{s}_arm_eef_quat", f"{s}_{state_hand}") for s in sides]
    moves = [(f"{s}_arm_eef_pos", f"{s}_arm_eef_rot", f"{s}_{action_hand}") for s in sides]
    return DataConfig(
        ("right_wrist_view", "left_wrist_view", view),
        parts[0] + parts[1],
        moves[0] + moves[1],
        _all("min_max", *(name for position, _, hand in parts for name in (position, hand))),
        _all(mode, *(hand for _, _, hand in moves)),
        _all("rotation_6d", *(rotation for _, rotation, _ in parts)),
    )


#: The published data configurations.
BUILTIN = {
    "fourier_gr1_arms_only": _plain(("ego_view",), _ARMS, _ARMS, "sin_cos"),
    "fourier_gr1_arms_waist": _plain(
        ("ego_view",), (*_ARMS, "waist"), (*_ARMS, "waist"), "sin_cos"
    ),
    "fourier_gr1_full_upper_body": _plain(("front_view",), _BODY, _BODY),
    "bimanual_panda_gripper": _bimanual_panda(
        "front_view", "gripper_qpos", "gripper_close", "binary"
    ),
    "bimanual_panda_hand": _bimanual_panda("ego_view", "hand", "hand", "min_max"),
    "single_panda_gripper": DataConfig(
        ("left_view", "right_view", "wrist_view"),
        _PANDA,
        (
            "end_effector_position",
            "end_effector_rotation",
            "gripper_close",
            "base_motion",
            "control_mode",
        ),
        _all("min_max", *_PANDA),
        {
            **_all("min_max", "end_effector_position", "end_effector_rotation", "base_motion"),
            **_all("binary", "gripper_close", "control_mode"),
        },
        _all("rotation_6d", "end_effector_rotation_relative", "base_rotation"),
    ),
    "so100": _plain(("webcam",), _SO100, _SO100),
    "so100_dualcam": _plain(("front", "wrist"), _SO100, _SO100),
    "unitree_g1": _plain(("rs_view",), _ARMS, _ARMS),
    "unitree_g1_full_body": _plain(("rs_view",), (*_LEGS, *_ARMS), _ARMS),
    "oxe_droid": DataConfig(
        ("exterior_image_1", "exterior_image_2", "wrist_image"),
        ("eef_position", "eef_rotation", "gripper_position"),
        ("eef_position_delta", "eef_rotation_delta", "gripper_position"),
        _all("min_max", "eef_position", "gripper_position"),
        _all("binary", "gripper_position"),
        _all("rotation_6d", "eef_rotation"),
        _all("axis_angle", "eef_rotation_delta"),
    ),
    "agibot_genie1": _plain(
        ("top_head", "hand_left", "hand_right"), _GENIE, (*_GENIE, "robot_velocity")
    ),
}
#: Data configuration of the tags of the published base model.
_OF_TAG = {
    "gr1": "fourier_gr1_arms_only",
    "oxe_droid": "oxe_droid",
    "agibot_genie1": "agibot_genie1",
}


def choose_data_config(
    directory: Path,
    tag: str,
    video: tuple[str, ...],
    state: tuple[str, ...],
    action: tuple[str, ...],
    continuous: Mapping[str, bool],
) -> DataConfig:
    """Return the data configuration of a checkpoint.

    In this order: the file next to metadata.json, the one of a published tag, the built-in one
    with the same views and groups, or all groups in the order of metadata.json, with min_max, and
    binary for those that are not continuous.

    Args:
        directory: directory of metadata.json.
        tag: embodiment.
        video: views of metadata.json.
        state: state groups of metadata.json.
        action: action groups of metadata.json.
        continuous: "state.<group>" or "action.<group>" -> False if its values are 0 or 1.

    """
    path = directory / FILE
    if path.is_file():
        f = Fields.read(path)
        return DataConfig.parse(f.section(tag) if tag in f.value else f)
    published = BUILTIN.get(_OF_TAG.get(tag, ""))
    if published is not None and _is_part(published, video, state, action):
        return published
    for config in BUILTIN.values():
        own = (config.video, config.state, config.action)
        if all(map(_same, own, (video, state, action))):
            return config

    def modes(modality: str, groups: tuple[str, ...]) -> dict[str, str]:
        return {
            g: "min_max" if continuous.get(f"{modality}.{g}", True) else "binary" for g in groups
        }

    return DataConfig(video, state, action, modes("state", state), modes("action", action))


def _same(one: tuple[str, ...], two: tuple[str, ...]) -> bool:
    return sorted(one) == sorted(two)


def _is_part(
    config: DataConfig, video: tuple[str, ...], state: tuple[str, ...], action: tuple[str, ...]
) -> bool:
    pairs = ((config.video, video), (config.state, state), (config.action, action))
    return all(set(own) <= set(given) for own, given in pairs)
