# SPDX-License-Identifier: Apache-2.0
"""One stage of the published GR00T N1.5 with random weights, and inputs for it."""

from dataclasses import replace

import torch

from groot_ros.core.program import Binding
from groot_ros.families.family import SegmentWork
from groot_ros.families.gr00t.benchmark import Gr00tBenchmarkCase, count_weights
from groot_ros.families.gr00t_n1d5.config import Gr00tN1d5Config
from groot_ros.families.gr00t_n1d5.program import StagedModel
from groot_ros.layers.packed_linear import held_bytes

#: Number of text tokens before, between and after the images.
_TEXT = (22, 6, 30)
_VIEWS = 2


def published_config(horizon: int) -> Gr00tN1d5Config:
    """Return the configuration of published size for one embodiment."""
    config = Gr00tN1d5Config().with_embodiments(1)
    return replace(config, head=replace(config.head, action_horizon=horizon))


class BenchmarkCase(Gr00tBenchmarkCase):
    """See `families.family.BenchmarkCase`; stages are "backbone" and "head"."""

    config: Gr00tN1d5Config
    staged = StagedModel
    published_config = staticmethod(published_config)

    def __init__(
        self, stage: str, config: Gr00tN1d5Config, device: torch.device, dtype: torch.dtype
    ) -> None:
        super().__init__(stage, config, device, dtype)
        ids = [1] * _TEXT[0]
        for after in _TEXT[1:]:
            ids += [0] * config.eagle.tile_tokens + [1] * after
        self.describe(ids)

    @property
    def columns(self) -> int:
        """Return the number of columns of an action."""
        return self.config.head.action_dim

    @property
    def image_shape(self) -> tuple[int, int, int, int]:
        """Return the shape of the tiles of all views, [V, 3, S, S]."""
        size = self.config.eagle.vision.image_size
        return _VIEWS, 3, size, size

    def small_config(self) -> Gr00tN1d5Config:
        """See `Gr00tBenchmarkCase.small_config`."""
        return _only(self.stage, self.config)

    def bound(self, program: StagedModel) -> Binding:
        """See `Gr00tBenchmarkCase.bound`."""
        prompt = program.prompts.of(self.token_ids)
        observed = {"tiles": self.pixels(), **self.observed()}
        return program.bound(prompt, program.tables.of(self.steps), observed)

    def work(self, program: StagedModel) -> dict[str, SegmentWork]:
        """Count the work of one run; a product of n rows is 2 n operations per weight."""
        eagle, head = self.config.eagle, self.config.head
        tokens, modules = len(self.token_ids), program.modules
        if self.stage == "backbone":
            vision, language = modules["vision"], modules["language"]
            patches, width = _VIEWS * eagle.vision.side**2, eagle.vision.hidden_size
            within = 4 * patches**2 / _VIEWS * width * eagle.vision.num_hidden_layers
            heads = eagle.text.num_attention_heads * eagle.text.head_dim
            causal = 4 * tokens**2 / 2 * heads * self.config.backbone.select_layer
            return {
                "vision": SegmentWork(
                    held_bytes(vision), 2 * patches * count_weights(vision) + within
                ),
                "language": SegmentWork(
                    held_bytes(language), 2 * tokens * count_weights(language) + causal
                ),
            }
        context, denoise = modules["context"], modules["denoise"]
        width, layers = head.dit.inner_dim, head.dit.num_layers
        rows = 1 + head.future_tokens + head.action_horizon
        cross = (layers + 1) // 2
        attention = 4 * rows * width * (cross * tokens + (layers - cross) * rows)
        own = head.vl_self_attention
        within = 4 * tokens**2 * own.inner_dim * own.num_layers
        read = held_bytes(denoise) + 2 * cross * tokens * width * self.dtype.itemsize
        return {
            "context": SegmentWork(
                held_bytes(context), 2 * tokens * count_weights(context) + within
            ),
            "denoise": SegmentWork(
                self.steps * read + program.tables.of(self.steps).nbytes,
                self.steps * (2 * rows * count_weights(denoise) + attention),
            ),
        }


def _only(stage: str, config: Gr00tN1d5Config) -> Gr00tN1d5Config:
    eagle, head, backbone = config.eagle, config.head, config.backbone
    if stage == "head":
        eagle = replace(eagle, vision=replace(eagle.vision, num_hidden_layers=1))
        backbone = replace(backbone, select_layer=1)
    else:
        head = replace(
            head,
            dit=replace(head.dit, num_layers=2),
            vl_self_attention=replace(head.vl_self_attention, num_layers=1),
        )
    text = replace(eagle.text, vocab_size=2)
    eagle = replace(eagle, text=text, image_token_index=0)
    return Gr00tN1d5Config(eagle, backbone, head)
