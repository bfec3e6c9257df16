# SPDX-License-Identifier: Apache-2.0
"""Staged model of GR00T N1.5; see `families.gr00t.staged_model`. All images have one size."""

import re
from collections.abc import Callable, Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn

from groot_ros.core.program import (
    Binding,
    FreeDim,
    ModelInputs,
    ProgramSpec,
    Segment,
    Tensors,
    TensorSpec,
)
from groot_ros.families.gr00t import staged_model
from groot_ros.families.gr00t.prompts import Prompt, Prompts
from groot_ros.families.gr00t.staged_model import (
    CROSS,
    HEAD,
    SEGMENTS,
    STEP,
    constants_of,
    language_segment,
    unpadded,
)
from groot_ros.families.gr00t_n1d5.backbone import Eagle
from groot_ros.families.gr00t_n1d5.config import Gr00tN1d5Config
from groot_ros.families.gr00t_n1d5.network import Gr00tN1d5
from groot_ros.families.gr00t_n1d5.staged import Context, Vision, make_denoise
from groot_ros.families.gr00t_n1d5.weights import WEIGHTS
from groot_ros.layers.eagle import token_mismatch
from groot_ros.layers.staged import Language
from groot_ros.layers.staged_head import conditioning_tensors, denoise_arguments, denoise_segment
from groot_ros.layers.time_tables import TimeTables

__all__ = ["SEGMENTS", "StagedModel", "load_staged", "make_staged", "program_spec"]

_CARRIED = ("tokens_before", "keys", "values")
_EAGLE = r"backbone\.eagle_model\."
_TEXT = _EAGLE + r"language_model\.model\."


def program_spec(config: Gr00tN1d5Config) -> ProgramSpec:
    """Return the segments of a checkpoint's staged model and the tensors between them."""
    eagle, head = config.eagle, config.head
    text, vision, dit = eagle.text, eagle.vision, head.dit
    patch = vision.num_channels * vision.patch_size**2
    image_tokens = TensorSpec("image_tokens", ("views", eagle.tile_tokens, text.hidden_size))
    features = TensorSpec("features", (1, "tokens", config.feature_width))
    cross = (dit.num_layers + 1) // 2
    keys, values = (
        TensorSpec(name, (cross, dit.num_attention_heads, "tokens", dit.attention_head_dim))
        for name in ("keys", "values")
    )
    before = TensorSpec("tokens_before", (1, 1 + head.future_tokens, head.input_embedding_dim))
    segments = (
        Segment(
            "vision",
            "backbone",
            inputs=(TensorSpec("patches", ("views", vision.side**2, patch)),),
            outputs=(image_tokens,),
            observed=("tiles",),
        ),
        language_segment(text, features, ("text_embeddings", "image_index", "cos", "sin")),
        Segment(
            "context",
            "head",
            inputs=(features, TensorSpec("state", (1, 1, head.max_state_dim))),
            outputs=(keys, values, before),
            observed=("state",),
        ),
        denoise_segment(
            horizon=head.action_horizon,
            columns=head.action_dim,
            layers=dit.num_layers,
            width=dit.inner_dim,
            tokens=before,
            keys_and_values=(keys, values),
        ),
    )
    free = {"views": FreeDim(2), "tokens": FreeDim(11)}
    return ProgramSpec(segments, results=("next_actions",), free_dims=free)


class StagedModel(staged_model.StagedModel):
    """See `families.gr00t.staged_model.StagedModel`."""

    weights = WEIGHTS
    program_spec = staticmethod(program_spec)
    config: Gr00tN1d5Config
    prompts: Prompts
    host_weights = re.compile(_TEXT + r"embed_tokens\..*")
    segment_weights: ClassVar = {
        "vision": re.compile(_EAGLE + r"(vision_model|mlp1)\..*"),
        "language": re.compile(rf"{_TEXT}(layers|norm)\..*|backbone\.eagle_linear\..*"),
        "context": re.compile(
            HEAD + r"(vlln\..*|vl_self_attention\..*|state_encoder\..*|future_tokens\..*"
            rf"|model\.{CROSS})"
        ),
        "denoise": re.compile(
            HEAD + r"(action_encoder\..*|(action|shared)_\w*decoder\..*|position_embedding\..*"
            rf"|{STEP})"
        ),
    }

    @staticmethod
    def make_prompts(
        config: Gr00tN1d5Config, eagle: Eagle, device: torch.device, dtype: torch.dtype
    ) -> Prompts:
        """See `families.gr00t.staged_model.StagedModel.make_prompts`."""
        return Prompts(config.eagle, eagle.text.embed_tokens, device, dtype)

    @staticmethod
    def makers(model: Gr00tN1d5, row: int) -> dict[str, Callable[[], nn.Module]]:
        """See `families.gr00t.staged_model.StagedModel.makers`."""
        config, eagle, head = model.config, model.backbone.eagle, model.action_head
        project = None if config.backbone.project_to_dim is None else model.backbone.eagle_linear
        return {
            "vision": lambda: Vision(config.eagle, eagle),
            "language": lambda: Language(config.eagle.text, eagle.text, project),
            "context": lambda: Context(config.head, head, row),
            "denoise": lambda: make_denoise(config.head, head, row),
        }

    def bind(self, inputs: ModelInputs, steps: int) -> Binding:
        """See `families.gr00t.staged_model.StagedModel.bind`."""
        prompt = self.prompts.of(unpadded(inputs))
        given = len(inputs["tiles"]) * self.config.eagle.tile_tokens
        if given != len(prompt.image_index):
            raise ValueError(token_mismatch(given, len(prompt.image_index), self.config.eagle))
        names = ("tiles", "state", "noise")
        observed = {name: torch.from_numpy(inputs[name]) for name in names}
        observed |= conditioning_tensors(inputs)
        return self.bound(prompt, self.tables.of(steps), observed)

    def bound(self, prompt: Prompt, tables: TimeTables, observed: Mapping[str, Tensor]) -> Binding:
        """Return a binding of the observed host tensors, a prompt and time tables."""
        return Binding(constants_of(prompt, tables), observed, counts={"steps": tables.steps})

    def _vision_arguments(self, _: int, t: Tensors) -> list[Tensor]:
        return [self._patches(t["tiles"])]

    def _language_arguments(self, _: int, t: Tensors) -> list[Tensor]:
        tokens = t["image_tokens"].flatten(0, 1)[None]
        embeddings = t["text_embeddings"].index_copy(1, t["image_index"], tokens)
        return [embeddings, t["cos"], t["sin"]]

    def _context_arguments(self, _: int, t: Tensors) -> list[Tensor]:
        return [t["features"], t["state"].to(self.dtype)]

    def _denoise_arguments(self, index: int, t: Tensors) -> list[Tensor]:
        return denoise_arguments(index, t, _CARRIED)


make_staged = StagedModel.convert
load_staged = StagedModel.load
