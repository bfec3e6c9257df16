"""GR00T N1.6 as a model family; torch is imported only where it is needed."""

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from groot_ros.checkpoint.locate import find_checkpoint
from groot_ros.core.config_reader import CheckpointError, Fields
from groot_ros.families.family import CheckpointSummary, DataLayout
from groot_ros.families.gr00t_n1d6.checkpoint import FAMILY as NAME
from groot_ros.families.gr00t_n1d6.checkpoint import Gr00tN1d6Checkpoint, open_checkpoint
from groot_ros.families.gr00t_n1d6.config import MODEL_TYPE, EagleConfig, Gr00tN1d6Config
from groot_ros.families.gr00t_n1d6.processor_config import ProcessorConfig, save_processor
from groot_ros.processing.modality import (
    ActionConfig,
    Embodiment,
    ModalityConfig,
    Representation,
)
from groot_ros.processing.tokenizer import IMAGE_TOKEN_INDEX, write_byte_tokenizer

if TYPE_CHECKING:
    import torch

    from groot_ros.families.gr00t_n1d6.benchmark import BenchmarkCase
    from groot_ros.families.gr00t_n1d6.small_training import SmallTrainer
    from groot_ros.families.gr00t_n1d6.training import Trainer

#: Columns and steps of the published model.
_COLUMNS, _HORIZON = 128, 50


@dataclass(frozen=True)
class CheckpointConfig:
    """Everything that a new checkpoint is made from, except its weights.

    Attributes:
        network: sizes.
        processor: modalities and image pipeline.
        statistics: {tag: {modality: {group: {statistic: values}}}}.

    """

    network: Gr00tN1d6Config
    processor: ProcessorConfig
    statistics: dict[str, Any] = field(default_factory=dict)


class Gr00tN1d6Family:
    """See `families.family.Family`."""

    name = NAME
    recognised_by = f"config.json with 'model_type' {MODEL_TYPE}"

    def matches(self, path: Path) -> bool:
        """See `families.family.Family.matches`."""
        config = path / "config.json"
        if not config.is_file():
            return False
        try:
            return Fields.read(config).get("model_type", "") == MODEL_TYPE
        except CheckpointError:
            return False

    def open(
        self,
        path: Path,
        *,
        embodiment: str,
        assets: str | Path | None = None,
        base: str | Path | None = None,
    ) -> Gr00tN1d6Checkpoint:
        """See `families.family.Family.open`; a checkpoint of this family refers to no base."""
        return open_checkpoint(find_checkpoint(path), embodiment, assets)

    def describe(
        self,
        path: Path,
        *,
        embodiment: str | None = None,
        assets: str | Path | None = None,
        base: str | Path | None = None,
    ) -> CheckpointSummary:
        """See `families.family.Family.describe`."""
        from groot_ros.families.gr00t_n1d6.summary import describe

        return describe(path, embodiment=embodiment, assets=assets)

    def published_config(self, layout: DataLayout) -> CheckpointConfig:
        """Return the published sizes, with the byte tokenizer's ids."""
        network = Gr00tN1d6Config(
            eagle=EagleConfig(image_token_index=IMAGE_TOKEN_INDEX),
            max_state_dim=_COLUMNS,
            max_action_dim=_COLUMNS,
            action_horizon=max(_HORIZON, layout.horizon),
        )
        return make_config(network, layout)

    def random_checkpoint(
        self,
        config: CheckpointConfig,
        seed: int,
        out: Path,
        *,
        dtype: "torch.dtype | None" = None,
        max_shard_bytes: int | None = None,
    ) -> Path:
        """Write a checkpoint with random weights; memory holds one shard at a time.

        Args:
            config: from `published_config`, or made by hand.
            seed: of the weights.
            out: directory to create.
            dtype: of the weights, float32 if None.
            max_shard_bytes: size of a shard, one file if None.

        """
        from groot_ros.families.gr00t_n1d6.weights import write_random_weights

        self.write_config(config, out)
        write_random_weights(config.network, seed, out, dtype, max_shard_bytes)
        return out

    def write_config(self, config: CheckpointConfig, out: Path) -> None:
        """See `families.family.Family.write_config`."""
        out.mkdir(parents=True, exist_ok=True)
        save_processor(config.processor, config.statistics, out)
        write_byte_tokenizer(out)
        for name, value in (
            ("config.json", config.network.to_json()),
            ("eagle_config.json", config.network.eagle.to_json()),
        ):
            (out / name).write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")

    def trainer(self, path: Path, *, embodiment: str, device: "torch.device") -> "Trainer":
        """See `families.family.Family.trainer`."""
        from groot_ros.families.gr00t_n1d6.training import Trainer
        from groot_ros.families.gr00t_n1d6.weights import load_model

        checkpoint = open_checkpoint(path, embodiment)
        model = load_model(path, checkpoint.config, device=device)
        return Trainer(model, checkpoint.processor, path)

    def small_trainer(self, layout: DataLayout, seed: int) -> "SmallTrainer":
        """See `families.family.Family.small_trainer`."""
        from groot_ros.families.gr00t_n1d6.small_training import SmallTrainer, small_network

        return SmallTrainer(make_config(small_network(layout), layout, embodiment_row=0), seed)

    def benchmark(
        self, stage: str, horizon: int, device: "torch.device", dtype: "torch.dtype"
    ) -> "BenchmarkCase":
        """See `families.family.Family.benchmark`."""
        from groot_ros.families.gr00t_n1d6.benchmark import BenchmarkCase, published_config

        return BenchmarkCase(stage, published_config(horizon), device, dtype)

    def resident_bytes(self, horizon: int, dtype: "torch.dtype") -> int:
        """See `families.family.Family.resident_bytes`."""
        from groot_ros.families.gr00t_n1d6.benchmark import resident_bytes

        return resident_bytes(horizon, dtype)


def make_config(
    network: Gr00tN1d6Config, layout: DataLayout, embodiment_row: int | None = None
) -> CheckpointConfig:
    """Return the configuration of a network for other data.

    Args:
        network: sizes.
        layout: of the data.
        embodiment_row: row of the category-specific weights, the built-in one of the tag if None.

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


FAMILY = Gr00tN1d6Family()
