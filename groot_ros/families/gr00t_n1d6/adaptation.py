# SPDX-License-Identifier: Apache-2.0
"""Prepare a GR00T N1.6 checkpoint for the data of a training run."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from groot_ros.checkpoint.weights import write_json
from groot_ros.core.config_reader import CheckpointError, Fields
from groot_ros.families.gr00t.adaptation import copy_tokenizer, link_weights, read_json
from groot_ros.families.gr00t.adaptation import write_config as write_changed_config
from groot_ros.families.gr00t_n1d6.checkpoint import find_backbone_assets
from groot_ros.families.gr00t_n1d6.config import MODEL_TYPE, EagleConfig, Gr00tN1d6Config
from groot_ros.families.gr00t_n1d6.new_checkpoint import make_config
from groot_ros.families.gr00t_n1d6.processor_config import ProcessorConfig, save_processor
from groot_ros.families.gr00t_n1d6.training import with_switches
from groot_ros.families.training import DataLayout
from groot_ros.processing.modality import Representation
from groot_ros.vision.augmentation import Augmentation


def write_adapted(
    source: Path,
    layout: DataLayout,
    out: Path,
    changes: Mapping[str, Any],
    augmentation: Augmentation,
    assets: str | Path | None,
) -> None:
    """See `families.family.Family.write_adapted`."""
    fields = Fields.read(source / "config.json")
    fields.expect("model_type", MODEL_TYPE, None)
    found = find_backbone_assets(
        source, assets, fields.text("model_name", Gr00tN1d6Config.model_name)
    )
    eagle = EagleConfig.read(found.config)
    config = with_switches(Gr00tN1d6Config.read(source / "config.json", eagle), changes)
    stored = ProcessorConfig.read(source)
    if stored.directory is None or layout.horizon > config.action_horizon:
        raise CheckpointError(
            f"{source / 'config.json'}: 'action_horizon' is {config.action_horizon}, less than the "
            f"{layout.horizon} steps of the data: train with a smaller --horizon"
        )
    entry = make_config(config, layout).processor
    out.mkdir(parents=True, exist_ok=True)
    # Written by the same code as a new checkpoint, then joined with what the source has.
    save_processor(entry, {layout.embodiment: dict(layout.statistics)}, out)
    processor = read_json(stored.directory / "processor_config.json")
    kwargs = processor["processor_kwargs"]
    new = read_json(out / "processor_config.json")["processor_kwargs"]
    if not _keeps_entry(stored, layout):
        kwargs["modality_configs"][layout.embodiment] = new["modality_configs"][layout.embodiment]
    kwargs["use_relative_action"] = stored.use_relative_action or bool(layout.relative)
    jitter = augmentation.jitter
    kwargs["color_jitter_params"] = jitter if any(jitter.values()) else None
    kwargs["random_rotation_angle"] = augmentation.rotation or None
    write_json(out / "processor_config.json", processor)
    statistics_file = stored.directory / "statistics.json"
    statistics = read_json(statistics_file) if statistics_file.is_file() else {}
    if layout.statistics:
        statistics |= read_json(out / "statistics.json")
    write_json(out / "statistics.json", statistics)
    write_json(out / "embodiment_id.json", dict(stored.embodiment_ids))
    write_changed_config(source / "config.json", out, changes)
    write_json(out / "eagle_config.json", eagle.to_json())
    copy_tokenizer(found.tokenizer, out)
    link_weights(source, out)


def _keeps_entry(stored: ProcessorConfig, layout: DataLayout) -> bool:
    """Tell whether the checkpoint's entry of the embodiment has this layout."""
    entry = stored.embodiments.get(layout.embodiment)
    if entry is None:
        return False
    relative = {
        group
        for group in entry.action.modality_keys
        if stored.use_relative_action and entry.action_config(group).rep is Representation.RELATIVE
    }
    return (
        entry.video.modality_keys == layout.views
        and entry.state.modality_keys == tuple(layout.state_groups)
        and entry.action.modality_keys == tuple(layout.action_groups)
        and len(entry.action.delta_indices) == layout.horizon
        and relative == layout.relative
    )
