# SPDX-License-Identifier: Apache-2.0
"""GR00T N1.6 checkpoint; everything except its weights has been read and checked."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from groot_ros.checkpoint.digest import checkpoint_digest
from groot_ros.checkpoint.locate import BackboneAssets, find_backbone_assets
from groot_ros.core.config_reader import CheckpointError, Fields
from groot_ros.core.program import ModelInputs, Range
from groot_ros.families.family import GroupRange, PolicySpec
from groot_ros.families.gr00t.checkpoint import (
    Gr00tCheckpoint,
    require_row,
    require_same_tokens,
    text_range,
)
from groot_ros.families.gr00t_n1d6.config import MODEL_TYPE, EagleConfig, Gr00tN1d6Config
from groot_ros.families.gr00t_n1d6.processor import Processor
from groot_ros.families.gr00t_n1d6.processor_config import ProcessorConfig
from groot_ros.processing.state_action import StateActionCodec
from groot_ros.processing.statistics import Statistics
from groot_ros.processing.tokenizer import TextTokenizer

if TYPE_CHECKING:
    from groot_ros.families.gr00t_n1d6.program import StagedModel

FAMILY = "gr00t_n1d6"


@dataclass(frozen=True)
class Gr00tN1d6Checkpoint(Gr00tCheckpoint):
    """See `families.gr00t.checkpoint.Gr00tCheckpoint`.

    Attributes:
        assets: the VLM's config and tokenizer.

    """

    config: Gr00tN1d6Config
    processor: Processor
    assets: BackboneAssets

    @staticmethod
    def staged_model() -> "type[StagedModel]":
        """See `families.gr00t.checkpoint.Gr00tCheckpoint.staged_model`."""
        from groot_ros.families.gr00t_n1d6.program import StagedModel

        return StagedModel

    @cached_property
    def spec(self) -> PolicySpec:
        """Return the inputs and outputs."""
        processor = self.processor
        return policy_spec(
            self.config, processor.config, processor.codec, processor.statistics, processor.tag
        )

    def digest(self) -> str:
        """Return a digest of the files; see `groot_ros.checkpoint.digest`."""
        return checkpoint_digest(self.path, self.assets.files)

    def profile(
        self, image_sizes: Sequence[tuple[int, int]], instruction_tokens: int
    ) -> dict[str, Range]:
        """See `families.family.Checkpoint.profile`."""
        processor = self.processor
        frames = len(processor.embodiment.video.delta_indices)
        cells = [self._cells(size) for size in self.sizes_by_view(image_sizes)]
        group = max(sum(n == m for m in cells) for n in cells) * frames
        square = self.config.eagle.shuffle**2
        image_tokens = sum(cells) * frames
        bare = len(processor.tokens("", cells * frames)) - image_tokens
        text = text_range(bare, instruction_tokens)
        states = len(processor.embodiment.state.delta_indices)
        whole = Range(*(n + image_tokens for n in (text.low, text.usual, text.high)))
        return {
            "views": Range(1, group, group),
            "patches": Range(square * min(cells), square * max(cells), square * max(cells)),
            "cells": Range(min(cells), max(cells), max(cells)),
            "tokens": whole,
            "text_tokens": text,
            "image_tokens": Range(image_tokens, image_tokens, image_tokens),
            "all_tokens": whole,
            "states": Range(states, states, states),
        }

    def sizes(self, inputs: ModelInputs) -> dict[str, list[int]]:
        """See `families.family.Checkpoint.sizes`."""
        images = [array for name, array in inputs.items() if name.startswith("image.")]
        shapes = [image.shape for image in images]
        tokens = int(inputs["attention_mask"].sum())
        image_tokens = int((inputs["input_ids"] == self.config.eagle.image_token_index).sum())
        return {
            "views": [max(map(shapes.count, shapes))],
            "cells": [self.processor.images.tokens(image) for image in images],
            "image_tokens": [image_tokens],
            "text_tokens": [tokens - image_tokens],
        }

    def _cells(self, size: tuple[int, int]) -> int:
        """Return the number of image tokens of one view, by processing a black image."""
        images = self.processor.images
        return images.tokens(images(np.zeros((*size, 3), dtype=np.uint8)))


def open_checkpoint(
    directory: Path, embodiment: str, assets: str | Path | None = None
) -> Gr00tN1d6Checkpoint:
    """Read the files of a checkpoint except the weights, and check that they agree.

    Args:
        directory: directory of the checkpoint.
        embodiment: tag.
        assets: directory or hub id of the VLM's config and tokenizer.

    Raises:
        CheckpointError: a file is missing, malformed or does not fit the others; one line that
            names file and key.

    """
    fields = Fields.read(directory / "config.json")
    fields.expect("model_type", MODEL_TYPE, None)
    model_name = fields.text("model_name", Gr00tN1d6Config.model_name)
    found = find_backbone_assets(directory, assets, model_name)
    config = Gr00tN1d6Config.read(directory / "config.json", EagleConfig.read(found.config))
    tokenizer = TextTokenizer.load(found.tokenizer)
    require_same_tokens(tokenizer, config.eagle, found.config)
    cell = config.eagle.vision.patch_size * config.eagle.shuffle
    shape = config.action_horizon, config.max_action_dim
    processor = Processor.load(directory, embodiment, tokenizer, cell, shape)
    require_same_sizes(embodiment, processor.config, processor.codec, config)
    return Gr00tN1d6Checkpoint(directory, config, processor, found)


def policy_spec(
    config: Gr00tN1d6Config,
    processor: ProcessorConfig,
    codec: StateActionCodec,
    statistics: Statistics,
    tag: str,
) -> PolicySpec:
    """Return the inputs and outputs of a checkpoint for the embodiment `tag`."""
    embodiment = processor.embodiment(tag)
    file = processor.path("processor_config.json")
    modalities = f"processor_kwargs.modality_configs.{tag}"
    return PolicySpec(
        family=FAMILY,
        embodiment=tag,
        views=embodiment.video.modality_keys,
        image_history=embodiment.video.delta_indices,
        state_history=embodiment.state.delta_indices,
        state_groups=dict(codec.state_widths),
        action_groups=dict(codec.action_widths),
        action_space={g: "pose" if codec.is_pose(g) else "joint" for g in codec.action_widths},
        horizon=codec.horizon,
        first_step=embodiment.action.delta_indices[0],
        step_spacing=processor.action_spacing(tag),
        sampling_steps=config.num_inference_timesteps,
        supports_prefix=True,
        sources={
            "image_history": f"{file}: '{modalities}.video.delta_indices'",
            "state_history": f"{file}: '{modalities}.state.delta_indices'",
            "horizon": f"{file}: '{modalities}.action.delta_indices'",
            "action_groups": f"{file}: '{modalities}.action.modality_keys'",
        },
        ranges=tuple(_ranges(codec, statistics)),
    )


def _ranges(codec: StateActionCodec, statistics: Statistics) -> Iterator[GroupRange]:
    """Yield the training range of each state and action group."""
    for group in codec.state_widths:
        low, high = codec.trained_range("state", group, statistics)
        extremes = (
            statistics.get("state", group, "min"),
            statistics.get("state", group, "max"),
        )
        how = codec.normalisation("state", group)
        yield GroupRange("state", group, "", how, low, high, extremes)
    for group in codec.action_widths:
        low, high = codec.trained_range("action", group, statistics)
        how = codec.normalisation("action", group)
        source = codec.reference(group) or ""
        yield GroupRange("action", group, source, how, low, high, (low, high))


def require_same_sizes(
    tag: str,
    processor: ProcessorConfig,
    codec: StateActionCodec,
    model: Gr00tN1d6Config,
) -> None:
    """Raise CheckpointError unless the processor's files agree with the model's."""
    where = processor.path("processor_config.json")
    for key in ("max_state_dim", "max_action_dim"):
        given, expected = getattr(processor, key), getattr(model, key)
        if given != expected:
            raise CheckpointError(
                f"{where}: '{key}' is {given}, but it is {expected} in config.json"
            )
    if codec.horizon > model.action_horizon:
        raise CheckpointError(
            f"{where}: the action's 'delta_indices' of '{tag}' has {codec.horizon} steps, but "
            f"action_horizon in config.json is {model.action_horizon}"
        )
    row, rows = processor.embodiment_id(tag), model.max_num_embodiments
    require_row(row, rows, tag, processor.ids_from(tag))
