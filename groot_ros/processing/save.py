"""Writes the processor's part of a checkpoint directory."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from groot_ros.processing.modality import ProcessorConfig


def save_processor(config: ProcessorConfig, statistics: Mapping[str, Any], directory: Path) -> None:
    """processor_config.json, statistics.json and embodiment_id.json.

    `statistics` is {tag: {"state"|"action"|"relative_action": {group: {stat: [D] or [T, D]}}}},
    stat in min, max, mean, std, q01, q99; arrays or lists.
    """
    directory.mkdir(parents=True, exist_ok=True)
    for name, value in (
        ("processor_config.json", config.to_json()),
        ("statistics.json", _lists(statistics)),
        ("embodiment_id.json", dict(config.embodiment_ids)),
    ):
        (directory / name).write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


def _lists(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _lists(entry) for key, entry in value.items()}
    return np.asarray(value, dtype=np.float64).tolist()
