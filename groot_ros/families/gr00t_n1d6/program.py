# SPDX-License-Identifier: Apache-2.0
"""Staged model of GR00T N1.6; see `families.gr00t.staged_model`.

"vision" runs once per image size, on all views of that size.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy as np
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
from groot_ros.families.gr00t.staged_model import (
    CROSS,
    HEAD,
    SEGMENTS,
    STEP,
    constants_of,
    language_segment,
    unpadded,
)
from groot_ros.families.gr00t_n1d6.backbone import Eagle
from groot_ros.families.gr00t_n1d6.config import Gr00tN1d6Config
from groot_ros.families.gr00t_n1d6.layout import Layout, Layouts
from groot_ros.families.gr00t_n1d6.network import Gr00tN1d6
from groot_ros.families.gr00t_n1d6.staged_backbone import Vision
from groot_ros.families.gr00t_n1d6.staged_head import (
    Context,
    group_of_layer,
    make_denoise,
    token_groups,
)
from groot_ros.families.gr00t_n1d6.weights import WEIGHTS
from groot_ros.layers.staged import Language
from groot_ros.layers.staged_head import conditioning_tensors, denoise_arguments, denoise_segment
from groot_ros.layers.time_tables import TimeTables

__all__ = ["SEGMENTS", "StagedModel", "load_staged", "make_staged", "program_spec"]

_EAGLE = r"backbone\.model\."
_TEXT = _EAGLE + r"language_model\.model\."


def program_spec(config: Gr00tN1d6Config) -> ProgramSpec:
    """Return the segments of a checkpoint's staged model and the tensors between them."""
    eagle, dit = config.eagle, config.dit
    text = eagle.text
    groups = token_groups(config)
    grid = _grid_inputs(config)
    features = TensorSpec("features", (1, "tokens", text.hidden_size))
    state_tokens = TensorSpec("state_tokens", (1, "states", config.input_embedding_dim))
    keys_and_values = _keys_and_values(config)
    patch = eagle.vision.num_channels * eagle.vision.patch_size**2
    vision = Segment(
        "vision",
        "backbone",
        inputs=(TensorSpec("patches", ("views", "patches", patch)), *grid),
        outputs=(TensorSpec("image_tokens", ("views", "cells", text.hidden_size)),),
        repeat="image_sizes",
        constants=tuple(tensor.name for tensor in grid),
        observed=("pixels",),
    )
    language = language_segment(
        text, features, ("text_embeddings", "image_index", "image_order", "cos", "sin")
    )
    context = Segment(
        "context",
        "head",
        inputs=(
            features,
            *(TensorSpec(f"{g}_index", (f"{g}_tokens",), "int64") for g in groups),
            TensorSpec("state", (1, "states", config.max_state_dim)),
        ),
        outputs=(*keys_and_values, state_tokens),
        constants=tuple(f"{g}_index" for g in groups),
        observed=("state",),
    )
    denoise = denoise_segment(
        horizon=config.action_horizon,
        columns=config.max_action_dim,
        layers=dit.num_layers,
        width=dit.inner_dim,
        tokens=state_tokens,
        keys_and_values=keys_and_values,
    )
    text_tokens, image_tokens = 5, 6
    return ProgramSpec(
        (vision, language, context, denoise),
        results=("next_actions",),
        free_dims={
            "views": FreeDim(2),
            "cells": FreeDim(3),
            "patches": FreeDim(3 * eagle.shuffle**2, "cells", eagle.shuffle**2),
            "tokens": FreeDim(text_tokens + image_tokens),
            "text_tokens": FreeDim(text_tokens),
            "image_tokens": FreeDim(image_tokens),
            "all_tokens": FreeDim(text_tokens + image_tokens),
            "states": FreeDim(2),
        },
    )


def _grid_inputs(config: Gr00tN1d6Config) -> tuple[TensorSpec, ...]:
    """Return the inputs of the vision tower that depend on the image size; see `PatchGrid`."""
    vision = config.eagle.vision
    inputs = [TensorSpec("positions", ("patches", vision.hidden_size))]
    if vision.use_rope:
        half = vision.hidden_size // vision.num_attention_heads // 2
        inputs += [
            TensorSpec("patch_cos", ("patches", half), "float32"),
            TensorSpec("patch_sin", ("patches", half), "float32"),
        ]
    if vision.use_windows_attn:
        inputs.append(TensorSpec("same_window", ("patches", "patches"), "bool"))
    return tuple(inputs)


def _keys_and_values(config: Gr00tN1d6Config) -> tuple[TensorSpec, ...]:
    dit = config.dit
    cross = range(0, dit.num_layers, 2)
    return tuple(
        TensorSpec(
            f"{what}_{group}",
            (
                sum(group_of_layer(config, layer) == group for layer in cross),
                dit.num_attention_heads,
                f"{group}_tokens",
                dit.attention_head_dim,
            ),
        )
        for group in token_groups(config)
        for what in ("keys", "values")
    )


class StagedModel(staged_model.StagedModel):
    """See `families.gr00t.staged_model.StagedModel`."""

    weights = WEIGHTS
    program_spec = staticmethod(program_spec)
    config: Gr00tN1d6Config
    prompts: Layouts
    host_weights = re.compile(rf"{_TEXT}embed_tokens\..*|.*\.embeddings\.position_embedding\..*")
    segment_weights: ClassVar = {
        "vision": re.compile(_EAGLE + r"(vision_model|mlp1)\.(?!.*position_embedding).*"),
        "language": re.compile(_TEXT + r"(layers|norm)\..*"),
        "context": re.compile(HEAD + rf"(vlln\..*|state_encoder\..*|model\.{CROSS})"),
        "denoise": re.compile(
            HEAD + rf"(action_encoder\..*|action_decoder\..*|position_embedding\..*|{STEP})"
        ),
    }

    def __init__(self, config: Gr00tN1d6Config, *parts: Any, **named: Any) -> None:
        """See `families.gr00t.staged_model.StagedModel`."""
        super().__init__(config, *parts, **named)
        self._grid_names = [tensor.name for tensor in _grid_inputs(config)]
        self._groups = token_groups(config)
        self._keys_and_values = [tensor.name for tensor in _keys_and_values(config)]

    @staticmethod
    def make_prompts(
        config: Gr00tN1d6Config, eagle: Eagle, device: torch.device, dtype: torch.dtype
    ) -> Layouts:
        """See `families.gr00t.staged_model.StagedModel.make_prompts`."""
        return Layouts(config, eagle.text.embed_tokens, eagle.vision.embeddings, device, dtype)

    @staticmethod
    def makers(model: Gr00tN1d6, row: int) -> dict[str, Callable[[], nn.Module]]:
        """See `families.gr00t.staged_model.StagedModel.makers`."""
        config, eagle, head = model.config, model.backbone.eagle, model.action_head
        return {
            "vision": lambda: Vision(config.eagle, eagle),
            "language": lambda: Language(config.eagle.text, eagle.text),
            "context": lambda: Context(config, head, row),
            "denoise": lambda: make_denoise(config, head, row),
        }

    def bind(self, inputs: ModelInputs, steps: int) -> Binding:
        """See `families.gr00t.staged_model.StagedModel.bind`."""
        images = [inputs[f"image.{i}"] for i in range(sum(n.startswith("image.") for n in inputs))]
        sizes = [(image.shape[1], image.shape[2]) for image in images]
        layout = self.prompts.of_images(unpadded(inputs), sizes)
        observed = {
            f"pixels#{i}": torch.from_numpy(np.stack([images[view] for view in batch.views]))
            for i, batch in enumerate(layout.batches)
        }
        observed["state"] = torch.from_numpy(inputs["state"])
        observed["noise"] = torch.from_numpy(inputs["noise"])
        observed |= conditioning_tensors(inputs)
        return self.bound(layout, self.tables.of(steps), observed)

    def bound(self, layout: Layout, tables: TimeTables, observed: Mapping[str, Tensor]) -> Binding:
        """Return a binding of the observed host tensors, a layout and time tables."""
        constants = constants_of(layout.text, tables)
        constants |= {f"{g}_index": i for g, i in zip(self._groups, layout.indexes, strict=True)}
        if layout.order is not None:
            constants["image_order"] = layout.order
        for i, batch in enumerate(layout.batches):
            named = zip(self._grid_names, batch.grid.inputs, strict=True)
            constants |= {f"{name}#{i}": tensor for name, tensor in named}
        return Binding(
            constants,
            observed,
            counts={"image_sizes": len(layout.batches), "steps": tables.steps},
            structure=tuple(batch.views for batch in layout.batches),
        )

    def _vision_arguments(self, index: int, t: Tensors) -> list[Tensor]:
        patches = self._patches(t[f"pixels#{index}"])
        return [patches, *(t[f"{name}#{index}"] for name in self._grid_names)]

    def _language_arguments(self, _: int, t: Tensors) -> list[Tensor]:
        embeddings = t["text_embeddings"]
        if t["image_tokens"]:
            tokens = [batch.flatten(0, 1) for batch in t["image_tokens"]]
            joined = tokens[0] if len(tokens) == 1 else torch.cat(tokens)
            if "image_order" in t:
                joined = joined.index_select(0, t["image_order"])
            embeddings = embeddings.index_copy(1, t["image_index"], joined[None])
        return [embeddings, t["cos"], t["sin"]]

    def _context_arguments(self, _: int, t: Tensors) -> list[Tensor]:
        indexes = (t[f"{group}_index"] for group in self._groups)
        return [t["features"], *indexes, t["state"].to(self.dtype)]

    def _denoise_arguments(self, index: int, t: Tensors) -> list[Tensor]:
        return denoise_arguments(index, t, ("state_tokens", *self._keys_and_values))


make_staged = StagedModel.convert
load_staged = StagedModel.load
