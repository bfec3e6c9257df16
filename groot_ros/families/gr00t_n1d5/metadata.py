# SPDX-License-Identifier: Apache-2.0
"""Views, groups and statistics of an embodiment: metadata.json, or LeRobot's processor files."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from groot_ros.core.config_reader import CheckpointError, Fields
from groot_ros.families.gr00t_n1d5 import rotations
from groot_ros.families.gr00t_n1d5.columns import MODES, NEEDS, ColumnGroup, Mode, Scheme
from groot_ros.families.gr00t_n1d5.data_config import DataConfig, choose_data_config

Array = NDArray[np.float64]
METADATA = Path("experiment_cfg") / "metadata.json"
PREPROCESSOR, POSTPROCESSOR = "policy_preprocessor.json", "policy_postprocessor.json"
#: Tag -> row of the category-specific weights, from the reference.
EMBODIMENT_ROWS = {
    "new_embodiment": 31,
    "oxe_droid": 17,
    "agibot_genie1": 26,
    "genie1_gripper": 26,
    "gr1": 24,
}
#: Additional rows of LeRobot's default table.
LEROBOT_ROWS = {**EMBODIMENT_ROWS, "so100": 2, "unitree_g1": 3}
#: Largest number of columns of a group; a larger one would fill the memory.
_MAX_COLUMNS = 2**20
#: Statistics of a group that are read.
STATISTICS = ("min", "max", "mean", "std", "q01", "q99")
_STATE, _ACTION, _IMAGE = "observation.state", "action", "observation.images."
_PACK, _UNPACK = "groot_pack_inputs_", "groot_action_unpack_unnormalize_"


@dataclass(frozen=True)
class Layout:
    """Data of one embodiment of a checkpoint.

    Attributes:
        tag: embodiment.
        row: row of the category-specific weights.
        views: cameras in the model's order.
        state, action: groups in the model's order.
        lerobot: True for LeRobot's image and prompt preparation.
        crop: part of each side of an image that is kept, without LeRobot.
        formalise: reduce the instruction to lower case letters, digits and white space.
        truncates: True if states and actions wider than the model's columns are cut.
        where: file in error messages.
        files: name -> path of the files read.

    """

    tag: str
    row: int
    views: tuple[str, ...]
    state: tuple[ColumnGroup, ...]
    action: tuple[ColumnGroup, ...]
    lerobot: bool
    crop: float
    formalise: bool
    truncates: bool
    where: str
    files: Mapping[str, Path]


def metadata_path(directory: Path) -> Path:
    """Return the path of metadata.json: in experiment_cfg, or next to the weights."""
    beside = directory / METADATA.name
    return (
        beside
        if beside.is_file() and not (directory / METADATA).is_file()
        else (directory / METADATA)
    )


def metadata_tags(directory: Path) -> tuple[str, ...]:
    """Return the embodiments of metadata.json."""
    return tuple(Fields.read(metadata_path(directory)).value)


def read_metadata(directory: Path, tag: str, config: DataConfig | None = None) -> Layout:
    """Read one embodiment of metadata.json.

    Args:
        directory: directory of the checkpoint.
        tag: key in metadata.json.
        config: data configuration; None chooses it, see `choose_data_config`.

    Raises:
        CheckpointError: the tag does not exist, or statistics are missing or malformed.

    """
    path = metadata_path(directory)
    whole = Fields.read(path)
    if tag not in whole.value:
        raise CheckpointError(
            f"{path}: has no embodiment '{tag}' (valid: {', '.join(sorted(whole.value))})"
        )
    entry = whole.section(tag)
    modalities, statistics = entry.section("modalities"), entry.section("statistics")
    named = entry.text("embodiment_tag", tag)
    if named not in EMBODIMENT_ROWS:
        raise entry.error(
            "embodiment_tag",
            f"is '{named}', which has no row in the weights (valid: "
            f"{', '.join(sorted(EMBODIMENT_ROWS))})",
        )
    groups = {kind: modalities.section(kind, {}) for kind in ("video", "state", "action")}
    continuous = {
        f"{kind}.{g}": groups[kind].section(g).flag("continuous", True)
        for kind in ("state", "action")
        for g in groups[kind].value
    }
    config = config or choose_data_config(
        path.parent,
        tag,
        tuple(groups["video"].value),
        tuple(groups["state"].value),
        tuple(groups["action"].value),
        continuous,
    )
    for view in config.video:
        if view not in groups["video"].value:
            raise groups["video"].error(view, "is missing")

    def read(kind: str, names: tuple[str, ...]) -> tuple[ColumnGroup, ...]:
        return tuple(
            _group(groups[kind], statistics.section(kind), kind, name, config) for name in names
        )

    files = {"metadata.json": path}
    own = path.parent / "data_config.json"
    if own.is_file():
        files[own.name] = own
    return Layout(
        tag=tag,
        row=EMBODIMENT_ROWS[named],
        views=config.video,
        state=read("state", config.state),
        action=read("action", config.action),
        lerobot=False,
        crop=config.crop,
        formalise=False,
        truncates=False,
        where=str(path),
        files=files,
    )


def _group(
    modality: Fields, statistics: Fields, kind: str, name: str, config: DataConfig
) -> ColumnGroup:
    described = modality.section(name)
    width = _width(described)
    mode = getattr(config, f"{kind}_modes").get(name, "")
    target = getattr(config, f"{kind}_rotations").get(name)
    assert mode in MODES
    known = statistics.section(name, {})
    values = {key: _array(known, key, width) for key in STATISTICS if known.has(key)}
    if not described.flag("continuous", True) and mode not in ("binary", ""):
        raise described.error("continuous", f"is false: '{mode}' does not apply, only binary")
    rotation = None
    if target is not None:
        source = described.text("rotation_type", "")
        if source not in rotations.WIDTHS:
            raise described.error(
                "rotation_type",
                f"is {source!r}: must be one of {', '.join(rotations.WIDTHS)} for {target}",
            )
        if width != rotations.width(source):
            raise described.error(
                "shape", f"is {width} columns, but {source} has {rotations.width(source)}"
            )
        rotation = (source, target)
        if mode:
            if mode != "min_max" or not described.flag("absolute", True):
                raise described.error(
                    "absolute", f"rotations are normalised with min_max and if absolute, not {mode}"
                )
            size = np.full(rotations.width(target), rotations.bound(target))
            scheme = Scheme("min_max", -size, size)
        else:
            scheme = Scheme()
    else:
        scheme = _scheme(mode, values, known)
    return ColumnGroup(name, width, scheme, rotation, *_limits(values, width, scheme, rotation))


def _scheme(mode: Mode, values: Mapping[str, Array], f: Fields) -> Scheme:
    needed = NEEDS.get(mode, ())
    for name in needed:
        if name not in values:
            raise f.error(name, "is missing")
    if not needed:
        return Scheme(mode)
    one, two = (values[name] for name in needed)
    if mode == "mean_std" and (two < 0).any():
        raise f.error("std", "is below 0")
    if mode in ("min_max", "q99") and (one > two).any():
        column = int((one > two).argmax())
        raise f.error(needed[0], f"is above '{needed[1]}' in column {column}")
    return Scheme(mode, one, two)


def _limits(
    values: Mapping[str, Array], width: int, scheme: Scheme, rotation: tuple[str, str] | None
) -> tuple[Array, Array, tuple[Array, Array]]:
    """Return the limits of the statistics used, and the smallest and largest values."""
    low = values.get("min", np.full(width, -1.0))
    high = values.get("max", np.full(width, 1.0))
    used = (low, high)
    if scheme.mode == "q99" and rotation is None:
        used = values["q01"], values["q99"]
    return (*used, (low, high))


def _array(f: Fields, name: str, width: int) -> Array:
    """Return a statistic [width]; numbers may be given as strings."""
    given = f.get(name)
    try:
        array = np.asarray(given, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        raise f.error(name, f"must be {width} finite numbers, not {given!r:.60}") from None
    flat = array.reshape(-1)
    if not array.ndim or flat.shape != (width,) or not np.isfinite(flat).all():
        raise f.error(name, f"must be {width} finite numbers, not {given!r:.60}")
    return flat


def _width(f: Fields) -> int:
    """Return the number of columns of a group or feature from its key "shape"."""
    shape = f.items("shape", int)
    width = math.prod(shape)
    if not shape or min(shape) < 1 or width > _MAX_COLUMNS:
        raise f.error(
            "shape", f"must be sizes from 1 to {_MAX_COLUMNS}, such as [7], not {list(shape)!r:.60}"
        )
    return width


@dataclass(frozen=True)
class LerobotSteps:
    """Settings of LeRobot's processor steps.

    Attributes:
        pack, unpack: configuration of the two steps with statistics.
        state_files: path of each one's statistics.

    """

    pack: Fields
    unpack: Fields
    state_files: Mapping[str, Path]

    @classmethod
    def read(cls, directory: Path) -> "LerobotSteps":
        """Read policy_preprocessor.json and policy_postprocessor.json."""
        files: dict[str, Path] = {}
        found = []
        for name, prefix in ((PREPROCESSOR, _PACK), (POSTPROCESSOR, _UNPACK)):
            f = Fields.read(directory / name)
            steps = [
                s for s in f.section_list("steps") if s.text("registry_name", "").startswith(prefix)
            ]
            if len(steps) != 1:
                raise f.error("steps", f"must have one step {prefix}*, has {len(steps)}")
            found.append(steps[0].section("config", {}))
            if steps[0].has("state_file"):
                files[prefix] = directory / steps[0].text("state_file")
        return cls(found[0], found[1], files)


def read_lerobot(directory: Path, tag: str) -> Layout:
    """Read LeRobot's config.json, processor steps and their statistics.

    Args:
        directory: directory of the checkpoint.
        tag: embodiment; its row is that of the checkpoint's table.

    Raises:
        CheckpointError: a file is missing or malformed, or the tag is not in the table.

    """
    config = Fields.read(directory / "config.json")
    steps = LerobotSteps.read(directory)
    table = steps.pack.section("embodiment_mapping", LEROBOT_ROWS)
    if tag not in table.value:
        raise CheckpointError(
            f"{steps.pack.where}: 'embodiment_mapping' has no embodiment '{tag}' (valid: "
            f"{', '.join(sorted(table.value))})"
        )
    inputs, outputs = config.section("input_features"), config.section("output_features")
    views = tuple(sorted(k for k in inputs.value if inputs.section(k).text("type", "") == "VISUAL"))
    if not views:
        raise config.error("input_features", "has no image")
    packed = _statistics(steps.state_files.get(_PACK))
    unpacked = _statistics(steps.state_files.get(_UNPACK)) or packed
    width = steps.unpack.integer("env_action_dim", 0) or _width(outputs.section(_ACTION))
    files = {name: directory / name for name in (PREPROCESSOR, POSTPROCESSOR)}
    layout = lerobot_layout(
        tag=tag,
        row=table.integer(tag),
        views=tuple(view.removeprefix(_IMAGE) for view in views),
        widths=(_width(inputs.section(_STATE)), width),
        statistics=(packed, unpacked),
        scaled=tuple(s.flag("normalize_min_max", True) for s in (steps.pack, steps.unpack)),
        formalise=steps.pack.flag("formalize_language", False),
    )
    return replace(
        layout,
        where=str(directory / PREPROCESSOR),
        files=files | {path.name: path for path in steps.state_files.values()},
    )


def lerobot_layout(
    *,
    tag: str,
    row: int,
    views: tuple[str, ...],
    widths: tuple[int, int],
    statistics: tuple[Mapping[str, Any], Mapping[str, Any]],
    scaled: Sequence[bool],
    formalise: bool,
) -> Layout:
    """Return the layout of a LeRobot checkpoint: one vector as state, one as action.

    Args:
        tag: embodiment.
        row: row of the category-specific weights.
        views: cameras in sorted order.
        widths: columns of state and action.
        statistics: data set statistics, such as "action.min", of the state and of the action.
        scaled: whether the state and the action are normalised.
        formalise: see `Layout`.

    """
    state = _vector("state", widths[0], statistics[0], _STATE, scaled[0])
    action = _vector("action", widths[1], statistics[1], _ACTION, scaled[1])
    return Layout(
        tag=tag,
        row=row,
        views=views,
        state=(state,),
        action=(action,),
        lerobot=True,
        crop=1.0,
        formalise=formalise,
        truncates=True,
        where=PREPROCESSOR,
        files={},
    )


def lerobot_tags(directory: Path) -> tuple[str, ...]:
    """Return the embodiment that the checkpoint was trained for."""
    config = Fields.read(directory / "config.json")
    pack = LerobotSteps.read(directory).pack
    return (pack.text("embodiment_tag", config.text("embodiment_tag", "new_embodiment")),)


def _statistics(path: Path | None) -> dict[str, Array]:
    if path is None:
        return {}
    # Imported here, so that a checkpoint of the other layout can be opened without torch.
    from groot_ros.checkpoint.safetensors_file import read_header

    found = {name: entry.read().double().numpy() for name, entry in read_header(path).items()}
    used = [f"{key}.{end}" for key in (_STATE, _ACTION) for end in ("min", "max")]
    for name in used:
        if name in found and not np.isfinite(found[name]).all():
            raise CheckpointError(f"{path}: '{name}' holds values that are not finite")
    return found


def _vector(
    name: str, width: int, statistics: Mapping[str, Any], key: str, scaled: bool
) -> ColumnGroup:
    """Return the group of a whole vector; missing statistics are 0 (min) and 1 (max)."""
    ends = []
    for statistic, beyond in (("min", 0.0), ("max", 1.0)):
        values = np.full(width, beyond)
        given = np.asarray(statistics.get(f"{key}.{statistic}", ()), dtype=np.float64).reshape(-1)
        values[: min(len(given), width)] = given[:width]
        ends.append(values)
    low, high = ends
    if scaled and (low > high).any():
        column = int((low > high).argmax())
        raise CheckpointError(
            f"{PREPROCESSOR}: statistic '{key}.min' is above '{key}.max' in column {column}"
        )
    scheme = Scheme("min_max", low, high) if scaled and statistics else Scheme()
    return ColumnGroup(name, width, scheme, None, low, high, (low, high))
