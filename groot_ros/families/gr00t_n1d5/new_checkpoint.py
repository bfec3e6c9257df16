# SPDX-License-Identifier: Apache-2.0
"""Configuration of a new GR00T N1.5 checkpoint in NVIDIA's layout: sizes, groups, statistics."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from groot_ros.families.gr00t_n1d5.config import EagleConfig, Gr00tN1d5Config
from groot_ros.families.gr00t_n1d5.data_config import FILE, DataConfig
from groot_ros.families.gr00t_n1d5.metadata import METADATA, STATISTICS
from groot_ros.families.training import DataLayout
from groot_ros.processing.tokenizer import IMAGE_TOKEN_INDEX, write_byte_tokenizer


@dataclass(frozen=True)
class CheckpointConfig:
    """Configuration of a new checkpoint, without its weights.

    Attributes:
        network: sizes of the network.
        metadata: contents of metadata.json.
        data: data configuration by embodiment.

    """

    network: Gr00tN1d5Config
    metadata: dict[str, Any]
    data: dict[str, DataConfig] = field(default_factory=dict)


def published_config(layout: DataLayout) -> CheckpointConfig:
    """Return the configuration of published size for this data, with the byte tokenizer's ids."""
    network = Gr00tN1d5Config(eagle=EagleConfig(image_token_index=IMAGE_TOKEN_INDEX))
    horizon = max(network.head.action_horizon, layout.horizon)
    head = replace(network.head, action_horizon=horizon)
    return make_config(replace(network, head=head), layout)


def make_config(network: Gr00tN1d5Config, layout: DataLayout) -> CheckpointConfig:
    """Return the configuration of a network for this data.

    Raises:
        ValueError: an action group is relative, which the family does not have.

    """
    if layout.relative:
        raise ValueError(
            f"GR00T N1.5 has no relative actions: {', '.join(sorted(layout.relative))}"
        )
    data = DataConfig(
        layout.views,
        tuple(layout.state_groups),
        tuple(layout.action_groups),
        dict.fromkeys(layout.state_groups, "min_max"),
        dict.fromkeys(layout.action_groups, "min_max"),
    )
    size = network.eagle.vision.image_size
    entry = {
        "embodiment_tag": layout.embodiment,
        "statistics": {
            kind: {
                name: _statistics(layout.statistics.get(kind, {}).get(name, {}), width)
                for name, width in groups.items()
            }
            for kind, groups in (("state", layout.state_groups), ("action", layout.action_groups))
        },
        "modalities": {
            "video": {
                view: {"resolution": [size, size], "channels": 3, "fps": 30.0}
                for view in layout.views
            },
            "state": {name: _modality(width) for name, width in layout.state_groups.items()},
            "action": {name: _modality(width) for name, width in layout.action_groups.items()},
        },
    }
    return CheckpointConfig(network, {layout.embodiment: entry}, {layout.embodiment: data})


def _modality(width: int) -> dict[str, Any]:
    return {"absolute": True, "rotation_type": None, "shape": [width], "continuous": True}


def _statistics(given: Mapping[str, Any], width: int) -> dict[str, list[float]]:
    low, high = (np.broadcast_to(given.get(k, v), width) for k, v in (("min", -1), ("max", 1)))
    default = {"min": low, "max": high, "q01": low, "q99": high}
    default |= {"mean": (low + high) / 2.0, "std": (high - low) / 4.0}
    found = {name: np.broadcast_to(given.get(name, default[name]), width) for name in STATISTICS}
    return {name: np.asarray(values, dtype=float).tolist() for name, values in found.items()}


def write_config(config: CheckpointConfig, out: Path) -> None:
    """Write all files of a checkpoint except its weights, with the byte tokenizer."""
    # Imported here, so that a checkpoint can be opened without torch.
    from groot_ros.checkpoint.weights import write_json

    path = out / METADATA
    path.parent.mkdir(parents=True, exist_ok=True)
    write_byte_tokenizer(out)
    write_json(path, config.metadata)
    if config.data:
        data = {tag: each.to_json() for tag, each in config.data.items()}
        write_json(path.parent / FILE, data)
    write_json(out / "config.json", config.network.to_json())
    write_json(out / "eagle_config.json", config.network.eagle.to_json())
