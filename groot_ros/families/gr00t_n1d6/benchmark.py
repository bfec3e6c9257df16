# SPDX-License-Identifier: Apache-2.0
"""One stage of the published GR00T N1.6 with random weights, and inputs for it."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from groot_ros.core.program import Binding
from groot_ros.families.family import SegmentWork
from groot_ros.families.gr00t.benchmark import Gr00tBenchmarkCase, count_weights
from groot_ros.families.gr00t_n1d6.config import Gr00tN1d6Config
from groot_ros.families.gr00t_n1d6.program import StagedModel
from groot_ros.layers.packed_linear import held_bytes

#: Number of text tokens before, between and after the images.
_TEXT = (30, 2, 8)
_SIZES = ((252, 252), (252, 252))


def published_config(horizon: int) -> Gr00tN1d6Config:
    """Return the configuration of published size for one embodiment."""
    return Gr00tN1d6Config(
        max_state_dim=128, max_action_dim=128, action_horizon=horizon, max_num_embodiments=1
    )


class BenchmarkCase(Gr00tBenchmarkCase):
    """See `families.family.BenchmarkCase`; stages are "backbone" and "head".

    Attributes:
        image_sizes: (height, width) of every view.

    """

    config: Gr00tN1d6Config
    staged = StagedModel
    published_config = staticmethod(published_config)

    def __init__(
        self,
        stage: str,
        config: Gr00tN1d6Config,
        device: torch.device,
        dtype: torch.dtype,
        *,
        image_sizes: Sequence[tuple[int, int]] = _SIZES,
        **options: Any,
    ) -> None:
        """Take `steps` and `seed` as options, as `Gr00tBenchmarkCase` does."""
        super().__init__(stage, config, device, dtype, **options)
        self.image_sizes = tuple(image_sizes)
        cell = config.eagle.vision.patch_size * config.eagle.shuffle
        ids = [1] * _TEXT[0]
        for after, (height, width) in zip(_TEXT[1:], image_sizes, strict=True):
            ids += [0] * (height // cell * (width // cell)) + [1] * after
        self.describe(ids)

    @property
    def columns(self) -> int:
        """Return the number of columns of an action."""
        return self.config.max_action_dim

    @property
    def image_shape(self) -> tuple[int, int, int, int]:
        """Return the shape of the images of all views, [V, 3, h, w]."""
        height, width = self.image_sizes[0]
        return len(self.image_sizes), 3, height, width

    def small_config(self) -> Gr00tN1d6Config:
        """See `Gr00tBenchmarkCase.small_config`."""
        return _only(self.stage, self.config)

    def bound(self, program: StagedModel) -> Binding:
        """See `Gr00tBenchmarkCase.bound`."""
        layout = program.prompts.of_images(self.token_ids, self.image_sizes)
        observed = {"pixels#0": self.pixels(), **self.observed()}
        return program.bound(layout, program.tables.of(self.steps), observed)

    def work(self, program: StagedModel) -> dict[str, SegmentWork]:
        """Count the work of one run; a product of n rows is 2 n operations per weight."""
        eagle, dit = self.config.eagle, self.config.dit
        tokens, text = len(self.token_ids), int(self.token_ids.sum())
        modules = program.modules
        if self.stage == "backbone":
            vision, language = modules["vision"], modules["language"]
            cells, views = tokens - text, len(self.image_sizes)
            patches, width = cells * eagle.shuffle**2, eagle.vision.hidden_size
            connector = sum(count_weights(vision.get_submodule(n)) for n in ("first", "second"))
            tower = count_weights(vision) - connector
            within_views = 4 * patches**2 / views * width * eagle.vision.num_hidden_layers
            heads = eagle.text.num_attention_heads * eagle.text.head_dim
            causal = 4 * tokens**2 / 2 * heads * self.config.select_layer
            return {
                "vision": SegmentWork(
                    held_bytes(vision), 2 * (patches * tower + cells * connector) + within_views
                ),
                "language": SegmentWork(
                    held_bytes(language), 2 * tokens * count_weights(language) + causal
                ),
            }
        context, denoise = modules["context"], modules["denoise"]
        rows, width = self.config.action_horizon + 1, dit.inner_dim
        cross = math.ceil(dit.num_layers / 2)
        # Half of the layers attend to the text, half to the images.
        attended = cross * tokens / 2
        attention = 4 * rows * width * (attended + (dit.num_layers - cross) * rows)
        read = held_bytes(denoise) + 2 * attended * width * self.dtype.itemsize
        tables = program.tables.of(self.steps).nbytes
        return {
            "context": SegmentWork(held_bytes(context), 2 * tokens / 2 * count_weights(context)),
            "denoise": SegmentWork(
                self.steps * read + tables,
                self.steps * (2 * rows * count_weights(denoise) + attention),
            ),
        }


def _only(stage: str, config: Gr00tN1d6Config) -> Gr00tN1d6Config:
    eagle = config.eagle
    if stage == "head":
        eagle = replace(eagle, vision=replace(eagle.vision, num_hidden_layers=1))
        config = replace(config, select_layer=1)
    else:
        config = replace(config, dit=replace(config.dit, num_layers=2))
    text = replace(eagle.text, vocab_size=2)
    return replace(config, eagle=replace(eagle, text=text, image_token_index=0))
