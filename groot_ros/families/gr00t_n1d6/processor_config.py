# SPDX-License-Identifier: Apache-2.0
"""processor_config.json, statistics.json and embodiment_id.json of a GR00T N1.6 checkpoint."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import Enum
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from groot_ros.checkpoint.locate import TOKENIZER_FILES, processor_directory
from groot_ros.checkpoint.mistakes import checkpoint_mistake
from groot_ros.core.config_reader import CheckpointError, Fields
from groot_ros.processing.modality import CodecConfig, Embodiment

PROCESSOR_FILES = ("processor_config.json", "statistics.json", "embodiment_id.json")
#: Tag -> row of the category-specific weights, from the reference; a checkpoint may add to it or
#: override it.
BUILTIN_EMBODIMENT_IDS = {
    "robocasa_panda_omron": 13,
    "gr1": 20,
    "behavior_r1_pro": 24,
    "unitree_g1": 8,
    "libero_panda": 2,
    "oxe_google": 0,
    "oxe_widowx": 1,
    "oxe_droid": 16,
    "new_embodiment": 10,
}


@dataclass(frozen=True)
class ProcessorConfig:
    """Contents of processor_config.json and embodiment_id.json; defaults are the reference's.

    Attributes:
        directory: directory they were read from; errors name it.
        unreadable: tag -> error, for embodiments that this version cannot read. An embodiment that
            is not used may have a newer format.

    """

    embodiments: Mapping[str, Embodiment]
    embodiment_ids: Mapping[str, int] = field(default_factory=lambda: dict(BUILTIN_EMBODIMENT_IDS))
    shortest_image_edge: int | None = 512
    crop_fraction: float | None = 0.95
    image_crop_size: tuple[int, int] | None = None
    image_target_size: tuple[int, int] | None = None
    formalize_language: bool = True
    max_state_dim: int = 29
    max_action_dim: int = 29
    max_action_horizon: int = 40
    use_percentiles: bool = False
    clip_outliers: bool = True
    apply_sincos_state_encoding: bool = False
    use_relative_action: bool = False
    directory: Path | None = field(default=None, compare=False)
    unreadable: Mapping[str, CheckpointError] = field(default_factory=dict, compare=False)

    @classmethod
    def read(cls, directory: Path) -> "ProcessorConfig":
        """Read the files of a checkpoint directory; a CheckpointError names file and key."""
        directory = processor_directory(directory)
        path = directory / "processor_config.json"
        if not path.exists() and (mistake := checkpoint_mistake(directory)):
            raise CheckpointError(f"{directory}: {mistake}")
        outer = Fields.read(path)
        if outer.has("processor_class"):
            outer.expect("processor_class", "Gr00tN1d6Processor", None)
        f = outer.section("processor_kwargs")
        # Without albumentations the reference letterboxes images, which is not supported.
        f.expect("use_albumentations", True, False)
        configs = f.section("modality_configs")
        edge = (
            f.integer("shortest_image_edge", at_least=1) if f.has("shortest_image_edge") else None
        )
        fraction = f.number("crop_fraction") if f.has("crop_fraction") else None
        embodiments, unreadable = {}, {}
        for tag in configs.value:
            try:
                embodiments[tag] = Embodiment.parse(configs.section(tag))
            except CheckpointError as error:
                unreadable[tag] = error
        ids, unreadable_ids = _read_embodiment_ids(directory / "embodiment_id.json")
        return cls(
            embodiments=embodiments,
            embodiment_ids=ids,
            shortest_image_edge=edge if "shortest_image_edge" in f.value else 512,
            crop_fraction=fraction if "crop_fraction" in f.value else 0.95,
            image_crop_size=_size(f, "image_crop_size"),
            image_target_size=_size(f, "image_target_size"),
            formalize_language=f.flag("formalize_language", True),
            max_state_dim=f.integer("max_state_dim", 29, at_least=1),
            max_action_dim=f.integer("max_action_dim", 29, at_least=1),
            max_action_horizon=f.integer("max_action_horizon", 40, at_least=1),
            use_percentiles=f.flag("use_percentiles", False),
            clip_outliers=f.flag("clip_outliers", True),
            apply_sincos_state_encoding=f.flag("apply_sincos_state_encoding", False),
            use_relative_action=f.flag("use_relative_action", False),
            directory=directory,
            unreadable={t: e for t, e in unreadable_ids.items() if t in embodiments} | unreadable,
        )

    @property
    def tags(self) -> tuple[str, ...]:
        """Return the tags of all embodiments, including those that cannot be read."""
        return tuple(dict.fromkeys((*self.embodiments, *self.unreadable)))

    def require_tag(self, tag: str) -> None:
        """Raise CheckpointError if there is no such embodiment; the message lists the valid ones.

        An embodiment that cannot be read counts as present.
        """
        if tag not in self.tags:
            raise CheckpointError(
                f"{self.path('processor_config.json')}: 'modality_configs' has no embodiment "
                f"'{tag}' (valid: {', '.join(sorted(self.embodiments))})"
            )

    def embodiment(self, tag: str) -> Embodiment:
        """Return the modalities of a tag.

        Raises:
            CheckpointError: the tag is unknown or its entry is malformed.

        """
        self.require_tag(tag)
        if tag in self.unreadable:
            raise self.unreadable[tag]
        return self.embodiments[tag]

    def embodiment_id(self, tag: str) -> int:
        """Return the row of the category-specific weights of a tag.

        Raises:
            CheckpointError: the tag is unknown; the message lists the valid ones.

        """
        if tag not in self.embodiment_ids:
            valid = ", ".join(sorted(self.embodiment_ids))
            raise CheckpointError(
                f"{self.ids_from(tag)}: has no embodiment '{tag}' (valid: {valid})"
            )
        return self.embodiment_ids[tag]

    def ids_from(self, tag: str) -> str:
        """Return the source of a tag's row, for error messages."""
        path = self.path("embodiment_id.json")
        if self.directory is None or Path(path).exists():
            builtin = self.embodiment_ids.get(tag) == BUILTIN_EMBODIMENT_IDS.get(tag, -1)
            return f"{path}, or the built-in table" if builtin else path
        return f"the built-in table of embodiments (there is no {path})"

    def action_spacing(self, tag: str) -> int:
        """Return the number of training data steps between two actions of a chunk.

        Raises:
            CheckpointError: the actions are not evenly spaced. A chunk has a single time step, and
                interpolated actions would not come from the model.

        """
        deltas = self.embodiment(tag).action.delta_indices
        gaps = {after - before for before, after in pairwise(deltas)} or {1}
        if len(gaps) > 1 or min(gaps) < 1:
            raise CheckpointError(
                f"{self.path('processor_config.json')}: the action's 'delta_indices' "
                f"{list(deltas)} of '{tag}' are not evenly spaced: a chunk has one time step"
            )
        return gaps.pop()

    def codec(self) -> CodecConfig:
        """Return the settings of the state and action codec."""
        return CodecConfig(
            max_state_dim=self.max_state_dim,
            max_action_dim=self.max_action_dim,
            max_action_horizon=self.max_action_horizon,
            use_percentiles=self.use_percentiles,
            clip_outliers=self.clip_outliers,
            apply_sincos_state_encoding=self.apply_sincos_state_encoding,
            use_relative_action=self.use_relative_action,
            where=self.path("processor_config.json"),
        )

    def path(self, name: str) -> str:
        """Return the path of a file of the checkpoint, for error messages."""
        return name if self.directory is None else str(self.directory / name)

    def to_json(self) -> dict[str, Any]:
        """Return the contents of a processor_config.json that `read` reads back."""
        kwargs = asdict(self)
        del kwargs["embodiment_ids"], kwargs["directory"], kwargs["unreadable"]
        configs = kwargs.pop("embodiments")
        return {
            "processor_class": "Gr00tN1d6Processor",
            "processor_kwargs": {
                "modality_configs": _plain(configs),
                "use_albumentations": True,
                **_plain(kwargs),
            },
        }


def save_processor(config: ProcessorConfig, statistics: Mapping[str, Any], directory: Path) -> None:
    """Write processor_config.json, statistics.json and embodiment_id.json.

    Args:
        config: contents of processor_config.json and embodiment_id.json.
        statistics: {tag: {"state"|"action"|"relative_action": {group: {stat: values}}}}; stat is
            min, max, mean, std, q01 or q99, values are an array or list [D] or [T, D].
        directory: directory to write to; it is created if missing.

    """
    directory.mkdir(parents=True, exist_ok=True)
    for name, value in (
        ("processor_config.json", config.to_json()),
        ("statistics.json", _lists(statistics)),
        ("embodiment_id.json", dict(config.embodiment_ids)),
    ):
        (directory / name).write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


def copy_processor(source: Path, target: Path) -> None:
    """Copy the processor and tokenizer files of a checkpoint directory."""
    folders = dict.fromkeys(PROCESSOR_FILES, processor_directory(source))
    folders |= dict.fromkeys(TOKENIZER_FILES, source)
    for name, folder in folders.items():
        if (folder / name).exists():
            shutil.copyfile(folder / name, target / name)


def _lists(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _lists(entry) for key, entry in value.items()}
    return np.asarray(value, dtype=np.float64).tolist()


def _size(f: Fields, key: str) -> tuple[int, int] | None:
    if not f.has(key):
        return None
    size = f.items(key, int)
    if len(size) != 2 or min(size) < 1:
        raise f.error(key, f"must be [height, width], not {list(size)}")
    return size[0], size[1]


def _read_embodiment_ids(path: Path) -> tuple[dict[str, int], dict[str, CheckpointError]]:
    """Return tag -> row, and tag -> error for the rows that cannot be read."""
    ids, unreadable = dict(BUILTIN_EMBODIMENT_IDS), {}
    f = Fields.read(path) if path.exists() else Fields({}, str(path))
    for tag in f.value:
        try:
            ids[tag] = f.integer(tag)
        except CheckpointError as error:
            unreadable[tag] = error
    return ids, unreadable


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, Enum):
        return value.name
    if isinstance(value, tuple | list):
        return [_plain(entry) for entry in value]
    return value
