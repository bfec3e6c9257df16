"""The tensors that cross a stage's border: the same names for torch, ONNX and TensorRT.

Every stage works on one observation at exact lengths; a dimension given by name is free, and the
same name means the same size in all stages of one run.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from groot_ros.models.gr00t_n1d6 import Gr00tN1d6Config

#: "weights" is the precision that the engine runs in.
Kind = Literal["weights", "float32", "int64", "bool"]


@dataclass(frozen=True)
class TensorSpec:
    """One tensor; a dimension is a size or the name of a free one."""

    name: str
    dims: tuple[int | str, ...]
    kind: Kind = "weights"


@dataclass(frozen=True)
class StageSpec:
    """What goes into a stage and what comes out, in order."""

    name: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


def token_groups(config: Gr00tN1d6Config) -> tuple[str, ...]:
    """Sets of feature tokens that cross-attention layers look at."""
    return ("text", "image") if config.use_alternate_vl_dit else ("all",)


def group_of_layer(config: Gr00tN1d6Config, layer: int) -> str:
    """Which set the cross-attention layer with this (even) index in the transformer sees."""
    if not config.use_alternate_vl_dit:
        return "all"
    return "text" if layer % (2 * config.attend_text_every_n_blocks) == 0 else "image"


def stage_specs(config: Gr00tN1d6Config) -> dict[str, StageSpec]:
    """The four stages of one checkpoint: vision, language, context, denoise."""
    eagle, dit = config.eagle, config.dit
    vision, text = eagle.vision, eagle.text
    cross = range(0, dit.num_layers, 2)
    groups = token_groups(config)

    patch_inputs = [
        TensorSpec("patches", ("views", "patches", vision.num_channels * vision.patch_size**2)),
        TensorSpec("positions", ("patches", vision.hidden_size)),
    ]
    if vision.use_rope:
        half = vision.hidden_size // vision.num_attention_heads // 2
        patch_inputs += [
            TensorSpec("patch_cos", ("patches", half), "float32"),
            TensorSpec("patch_sin", ("patches", half), "float32"),
        ]
    if vision.use_windows_attn:
        patch_inputs.append(TensorSpec("same_window", ("patches", "patches"), "bool"))

    features = TensorSpec("features", (1, "tokens", text.hidden_size))
    state_tokens = TensorSpec("state_tokens", (1, "states", config.input_embedding_dim))
    keys_and_values = tuple(
        TensorSpec(
            f"{what}_{group}",
            (
                sum(group_of_layer(config, layer) == group for layer in cross),
                dit.num_attention_heads,
                f"{group}_tokens",
                dit.attention_head_dim,
            ),
        )
        for group in groups
        for what in ("keys", "values")
    )
    chunk = (1, config.action_horizon, config.max_action_dim)
    return {
        "vision": StageSpec(
            "vision",
            tuple(patch_inputs),
            (TensorSpec("image_tokens", ("views", "cells", text.hidden_size)),),
        ),
        "language": StageSpec(
            "language",
            (
                TensorSpec("embeddings", (1, "tokens", text.hidden_size)),
                TensorSpec("cos", ("tokens", text.head_dim)),
                TensorSpec("sin", ("tokens", text.head_dim)),
            ),
            (features,),
        ),
        "context": StageSpec(
            "context",
            (
                features,
                *(TensorSpec(f"{g}_index", (f"{g}_tokens",), "int64") for g in groups),
                TensorSpec("state", (1, "states", config.max_state_dim)),
            ),
            (*keys_and_values, state_tokens),
        ),
        "denoise": StageSpec(
            "denoise",
            (
                TensorSpec("actions", chunk, "float32"),
                state_tokens,
                *keys_and_values,
                TensorSpec("token_bias", (1, config.action_horizon, config.input_embedding_dim)),
                TensorSpec("modulations", (dit.num_layers, 2, dit.inner_dim)),
                TensorSpec("output_modulation", (2, dit.inner_dim)),
                TensorSpec("prefix", chunk, "float32"),
                TensorSpec("weight", chunk, "float32"),
                TensorSpec("strength", chunk, "float32"),
                TensorSpec("time", (1,), "float32"),
                TensorSpec("dt", (1,), "float32"),
                TensorSpec("gain", (1,), "float32"),
            ),
            (TensorSpec("next_actions", chunk, "float32"),),
        ),
    }


def sizes_of(stage: StageSpec, shapes: Mapping[str, Sequence[int]]) -> dict[str, int]:
    """The free dimensions that the given shapes of all inputs mean.

    Raises:
        ValueError: a shape does not fit the contract, or two tensors disagree.

    """
    sizes: dict[str, int] = {}
    for tensor in stage.inputs:
        given = tuple(shapes[tensor.name])
        if len(given) != len(tensor.dims):
            raise ValueError(f"{stage.name}: '{tensor.name}' is {given}, expected {tensor.dims}")
        for dim, size in zip(tensor.dims, given, strict=True):
            expected = sizes.setdefault(dim, size) if isinstance(dim, str) else dim
            if size != expected:
                raise ValueError(
                    f"{stage.name}: '{tensor.name}' is {given}, but '{dim}' is {expected}"
                )
    return sizes
