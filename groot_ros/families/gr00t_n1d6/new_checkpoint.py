# SPDX-License-Identifier: Apache-2.0
"""Configuration of a new GR00T N1.6 checkpoint: sizes, modalities, statistics."""

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from groot_ros.families.gr00t_n1d6.config import EagleConfig, Gr00tN1d6Config
from groot_ros.families.gr00t_n1d6.processor_config import ProcessorConfig, save_processor
from groot_ros.families.training import DataLayout
from groot_ros.processing.modality import (
    ActionConfig,
    Embodiment,
    ModalityConfig,
    Representation,
)
from groot_ros.processing.tokenizer import IMAGE_TOKEN_INDEX

#: Columns and steps of the published model.
_COLUMNS, _HORIZON = 128, 50


@dataclass(frozen=True)
class CheckpointConfig:
    """Configuration of a new checkpoint, without its weights.

    Attributes:
        network: sizes of the network.
        processor: modalities and image pipeline.
        statistics: {tag: {modality: {group: {statistic: values}}}}.

    """

    network: Gr00tN1d6Config
    processor: ProcessorConfig
    statistics: dict[str, Any] = field(default_factory=dict)


def published_config(layout: DataLayout) -> CheckpointConfig:
    """Return the configuration of published size for this data, with the byte tokenizer's ids."""
    network = Gr00tN1d6Config(
        eagle=EagleConfig(image_token_index=IMAGE_TOKEN_INDEX),
        max_state_dim=_COLUMNS,
        max_action_dim=_COLUMNS,
        action_horizon=max(_HORIZON, layout.horizon),
    )
    return make_config(network, layout)


def make_config(
    network: Gr00tN1d6Config, layout: DataLayout, embodiment_row: int | None = None
) -> CheckpointConfig:
    """Return the configuration of a network for this data.

    Args:
        network: sizes of the network.
        layout: layout of the data.
        embodiment_row: row of the category-specific weights; None = the built-in row of the tag.

    """
    now = (0,)
    groups = tuple(layout.action_groups)
    action = ModalityConfig(
        tuple(range(layout.horizon)),
        groups,
        action_configs=tuple(
            ActionConfig(
                Representation.RELATIVE if g in layout.relative else Representation.ABSOLUTE
            )
            for g in groups
        ),
    )
    embodiment = Embodiment(
        video=ModalityConfig(now, layout.views),
        state=ModalityConfig(now, tuple(layout.state_groups)),
        action=action,
        language=ModalityConfig(now, ("annotation.human.task_description",)),
    )
    processor = ProcessorConfig(
        {layout.embodiment: embodiment},
        crop_fraction=0.95,
        max_state_dim=network.max_state_dim,
        max_action_dim=network.max_action_dim,
        max_action_horizon=network.action_horizon,
        use_relative_action=bool(layout.relative),
    )
    if embodiment_row is not None:
        processor = replace(processor, embodiment_ids={layout.embodiment: embodiment_row})
    if layout.image_edge is not None:
        processor = replace(processor, shortest_image_edge=layout.image_edge)
    return CheckpointConfig(network, processor, {layout.embodiment: dict(layout.statistics)})


def write_config(config: CheckpointConfig, out: Path) -> None:
    """Write all files of a checkpoint except its weights and its tokenizer."""
    out.mkdir(parents=True, exist_ok=True)
    save_processor(config.processor, config.statistics, out)
    for name, value in (
        ("config.json", config.network.to_json()),
        ("eagle_config.json", config.network.eagle.to_json()),
    ):
        (out / name).write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
