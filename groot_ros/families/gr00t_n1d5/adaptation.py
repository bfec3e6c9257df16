# SPDX-License-Identifier: Apache-2.0
"""Prepare a GR00T N1.5 checkpoint for the data of a training run."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from groot_ros.checkpoint.weights import write_json
from groot_ros.core.config_reader import CheckpointError
from groot_ros.families.gr00t.adaptation import (
    copy_tokenizer,
    link_weights,
    read_json,
    write_config,
)
from groot_ros.families.gr00t_n1d5.checkpoint import find_files, find_tokenizer
from groot_ros.families.gr00t_n1d5.data_config import FILE
from groot_ros.families.gr00t_n1d5.metadata import METADATA, metadata_path
from groot_ros.families.gr00t_n1d5.new_checkpoint import make_config
from groot_ros.families.gr00t_n1d5.training import with_switches
from groot_ros.families.training import DataLayout


def write_adapted(
    source: Path,
    layout: DataLayout,
    out: Path,
    changes: Mapping[str, Any],
    assets: str | Path | None,
) -> None:
    """See `families.family.Family.write_adapted`."""
    files = find_files(source, None, assets)
    if files.lerobot:
        raise CheckpointError(
            f"{source}: LeRobot's layout is read only; train a checkpoint in NVIDIA's"
        )
    config = with_switches(files.read_config(), changes)
    if layout.horizon != config.head.action_horizon:
        raise CheckpointError(
            f"{source / 'config.json'}: 'action_horizon' is {config.head.action_horizon}, "
            f"and every chunk has as many steps, not {layout.horizon}: change --horizon"
        )
    entry = make_config(config, layout)
    tag = layout.embodiment
    target = out / METADATA
    target.parent.mkdir(parents=True, exist_ok=True)
    path = metadata_path(source)
    metadata = read_json(path) if path.is_file() else {}
    stored = metadata.get(tag, {})
    if _groups(stored) == _groups(entry.metadata[tag]):
        if layout.statistics:
            metadata[tag] = {**stored, "statistics": entry.metadata[tag]["statistics"]}
    else:
        metadata[tag] = entry.metadata[tag]
        known = read_json(path.parent / FILE) if (path.parent / FILE).is_file() else {}
        write_json(target.parent / FILE, {**known, tag: entry.data[tag].to_json()})
    if not (target.parent / FILE).is_file() and (path.parent / FILE).is_file():
        write_json(target.parent / FILE, read_json(path.parent / FILE))
    write_json(target, metadata)
    write_config(source / "config.json", out, changes)
    write_json(out / "eagle_config.json", config.eagle.to_json())
    copy_tokenizer(find_tokenizer(files, assets), out)
    link_weights(source, out)


def _groups(entry: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return modality -> groups of an entry of metadata.json."""
    modalities = entry.get("modalities", {})
    return {kind: sorted(modalities.get(kind, {})) for kind in ("video", "state", "action")}
