# SPDX-License-Identifier: Apache-2.0
"""Staged model of GR00T N1.6: four segments that compute the same values as the reference model.

"vision" converts the patches of all views of one size to image tokens, "language" converts
embeddings to features, "context" converts features to keys and values, and "denoise" is one Euler
step. The host provides token embeddings, positions and time tables, which are cached per
instruction, image sizes and number of steps.
"""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from pathlib import Path

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
from groot_ros.families.gr00t_n1d6.weights import load_model
from groot_ros.layers.fusion import release_heap
from groot_ros.layers.packed_linear import can_pack, held_bytes, pack
from groot_ros.layers.patches import normalise_pixels, to_cell_patches
from groot_ros.layers.staged import Language
from groot_ros.layers.staged_head import conditioning_tensors, denoise_arguments, denoise_segment
from groot_ros.layers.time_tables import TimeEmbeddings, TimeTableCache, TimeTables

SEGMENTS = ("vision", "language", "context", "denoise")

_HEAD, _DIT = r"action_head\.", r"action_head\.model\."
_CROSS = r"transformer_blocks\.\d*[02468]\.attn1\.to_[kv]\..*"
_TIME = re.compile(
    _DIT + r"(timestep_encoder\..*|proj_out_1\..*|transformer_blocks\.\d+\.norm1\.linear\..*)"
)
_ENCODER = re.compile(_HEAD + r"action_encoder\.W[12]\..*")
_TOKENS = re.compile(r"backbone\.model\.language_model\.model\.embed_tokens\..*")
_POSITIONS = re.compile(r".*\.embeddings\.position_embedding\..*")
_WEIGHTS = {
    "vision": re.compile(r"backbone\.model\.(vision_model|mlp1)\.(?!.*position_embedding).*"),
    "language": re.compile(r"backbone\.model\.language_model\.model\.(layers|norm)\..*"),
    "context": re.compile(_HEAD + rf"(vlln\..*|state_encoder\..*|model\.{_CROSS})"),
    "denoise": re.compile(
        _HEAD
        + r"(action_encoder\..*|action_decoder\..*|position_embedding\..*|model\.proj_out_2\..*"
        rf"|model\.(?!{_CROSS})transformer_blocks\.\d+\.(attn1|ff)\..*)"
    ),
}


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
    language = Segment(
        "language",
        "backbone",
        inputs=(
            TensorSpec("embeddings", (1, "tokens", text.hidden_size)),
            TensorSpec("cos", ("tokens", text.head_dim)),
            TensorSpec("sin", ("tokens", text.head_dim)),
        ),
        outputs=(features,),
        constants=("text_embeddings", "image_index", "image_order", "cos", "sin"),
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


class StagedModel:
    """`core.program.Program` of a checkpoint for one embodiment.

    Attributes:
        config: configuration of the network.
        spec: segments; see `program_spec`.
        device, dtype: device and element type of the segments.
        layouts: cache of constants by instruction and image sizes.
        tables: cache of constants by number of denoising steps.

    """

    def __init__(
        self,
        config: Gr00tN1d6Config,
        device: torch.device,
        dtype: torch.dtype,
        layouts: Layouts,
        tables: TimeTableCache,
        modules: Mapping[str, nn.Module],
    ) -> None:
        self.config = config
        self.spec = program_spec(config)
        self.device, self.dtype = device, dtype
        self.layouts, self.tables = layouts, tables
        self._modules = dict(modules)
        self._grid_names = [tensor.name for tensor in _grid_inputs(config)]
        self._groups = token_groups(config)
        self._keys_and_values = [tensor.name for tensor in _keys_and_values(config)]
        for module in self._modules.values():
            module.requires_grad_(False).eval()

    @property
    def modules(self) -> Mapping[str, nn.Module]:
        """Return the loaded segments by name."""
        return self._modules

    @property
    def nbytes(self) -> int:
        """Return the memory on the device in bytes: weights, tables, and on a CPU embeddings."""
        host = self.tables.nbytes + (self.layouts.nbytes if self.device.type == "cpu" else 0)
        return sum(map(held_bytes, self._modules.values())) + host

    def pack(self) -> "StagedModel":
        """Reorder the weights for the CPU's kernels if possible, and return this model."""
        if can_pack(self.device):
            for module in self._modules.values():
                pack(module)
        return self

    def bind(self, inputs: ModelInputs, steps: int) -> Binding:
        """See `core.program.Program.bind`; the inputs come from `processor.Processor`.

        Raises:
            ValueError: the images do not give as many tokens as there are image token ids, or
                `steps` is less than 1.

        """
        images = [inputs[f"image.{i}"] for i in range(sum(n.startswith("image.") for n in inputs))]
        ids = inputs["input_ids"][0][inputs["attention_mask"][0] == 1]
        layout = self.layouts.of(ids, [(image.shape[1], image.shape[2]) for image in images])
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
        constants = {
            "text_embeddings": layout.embeddings,
            "image_index": layout.image_index,
            "cos": layout.cos,
            "sin": layout.sin,
            **{f"{g}_index": i for g, i in zip(self._groups, layout.indexes, strict=True)},
            **{f"table.{name}": tensor for name, tensor in vars(tables).items()},
        }
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

    def arguments(self, segment: str, index: int, tensors: Tensors) -> Sequence[Tensor]:
        """See `core.program.Program.arguments`."""
        return getattr(self, f"_{segment}_arguments")(index, tensors)

    def _vision_arguments(self, index: int, t: Tensors) -> list[Tensor]:
        eagle = self.config.eagle
        pixels = to_cell_patches(t[f"pixels#{index}"], eagle.vision.patch_size, eagle.shuffle)
        patches = normalise_pixels(pixels).to(self.dtype)
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


def make_staged(
    model: Gr00tN1d6, *, embodiment: int = 0, step_counts: Collection[int] = ()
) -> StagedModel:
    """Convert a reference model to a staged model; the reference model cannot run afterwards.

    The weights of the time embeddings are not part of the segments and are kept.

    Args:
        model: reference model; its device and precision are those of the result. On "meta" the
            result cannot run, but its size can be counted.
        embodiment: row of the category-specific weights.
        step_counts: numbers of denoising steps whose tables are computed now.

    """
    device, dtype = model.device, model.action_head.dtype
    embeddings = TimeEmbeddings(model.action_head, embodiment)
    tables = TimeTableCache(lambda: embeddings, device, dtype)
    tables.compute(step_counts)
    eagle = model.backbone.model
    tokens, patches = eagle.text.embed_tokens, eagle.vision.embeddings
    if device.type != "meta":
        tokens.cpu()
        patches.position_embedding.cpu()
    layouts = Layouts(model.config, tokens, patches, device, dtype)
    modules = _segments(model, embodiment, SEGMENTS)
    return StagedModel(model.config, device, dtype, layouts, tables, modules)


def load_staged(
    directory: Path,
    config: Gr00tN1d6Config,
    *,
    embodiment: int,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    segments: Collection[str] = SEGMENTS,
    step_counts: Collection[int] = (),
    progress: Callable[[float], None] | None = None,
) -> StagedModel:
    """Read the staged model of a checkpoint; only weights of the given segments are read.

    The weights of the time embeddings are read first and released after use; a new number of
    steps reads them again. Token embeddings stay on the host.

    Args:
        directory: contains model.safetensors, or shards and their index.
        config: configuration from `weights.load_config`.
        embodiment: row of the category-specific weights.
        device: device of the segments.
        dtype: element type of the weights.
        segments: names of the segments to load.
        step_counts: numbers of denoising steps whose tables are computed now.
        progress: called with the fraction of the segments' bytes read so far.

    Raises:
        CheckpointError: see `weights.load_model`.

    """
    read = partial(load_model, directory, config, embodiment=embodiment, dtype=dtype)
    device = torch.device(device)

    def time_embeddings() -> TimeEmbeddings:
        return TimeEmbeddings(read(only=_matching(_TIME, _ENCODER)).action_head, 0)

    tables = TimeTableCache(time_embeddings, device, dtype)
    tables.compute(step_counts)
    release_heap()
    kept = read(only=_matching(_TOKENS, _POSITIONS)).backbone.model
    layouts = Layouts(config, kept.text.embed_tokens, kept.vision.embeddings, device, dtype)
    patterns = [pattern for name, pattern in _WEIGHTS.items() if name in segments]
    model = read(only=_matching(*patterns), device=device, progress=progress)
    return StagedModel(config, device, dtype, layouts, tables, _segments(model, 0, segments))


def _matching(*patterns: re.Pattern[str]) -> Callable[[str], bool]:
    return lambda name: any(pattern.fullmatch(name) for pattern in patterns)


@torch.no_grad()
def _segments(model: Gr00tN1d6, row: int, names: Collection[str]) -> dict[str, nn.Module]:
    config, eagle, head = model.config, model.backbone.model, model.action_head
    make: dict[str, Callable[[], nn.Module]] = {
        "vision": lambda: Vision(config.eagle, eagle),
        "language": lambda: Language(config.eagle.text, eagle.text),
        "context": lambda: Context(config, head, row),
        "denoise": lambda: make_denoise(config, head, row),
    }
    return {name: make[name]() for name in SEGMENTS if name in names}
