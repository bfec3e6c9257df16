"""The four stages in a row: from pixels to actions, without a word from the host in between."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from groot_ros.models.gr00t_n1d6 import Conditioning
from groot_ros.runtime.gr00t_n1d6.layout import Layout
from groot_ros.runtime.gr00t_n1d6.time_tables import TimeTables

#: Takes and returns the tensors of `contract.stage_specs`, in that order; one output comes bare.
Stage = Callable[..., Any]


@dataclass(frozen=True)
class Stages:
    """What executes each stage; those of several engines may be mixed."""

    vision: Stage
    language: Stage
    context: Stage
    denoise: Stage


def run_backbone(stages: Stages, layout: Layout, patches: Sequence[Tensor]) -> Tensor:
    """Features [1, S, D].

    Args:
        stages: to run.
        layout: of this instruction and these image sizes.
        patches: [V, N, P] of every batch of the layout, see `to_cell_patches`.

    """
    embeddings = layout.embeddings
    if layout.batches:
        tokens = [
            stages.vision(given, *batch.grid.inputs).flatten(0, 1)
            for batch, given in zip(layout.batches, patches, strict=True)
        ]
        joined = tokens[0] if len(tokens) == 1 else torch.cat(tokens)
        if layout.order is not None:
            joined = joined.index_select(0, layout.order)
        embeddings = embeddings.index_copy(1, layout.image_index, joined[None])
    return stages.language(embeddings, layout.cos, layout.sin)


def run_head(
    stages: Stages,
    layout: Layout,
    tables: TimeTables,
    features: Tensor,
    state: Tensor,
    noise: Tensor,
    conditioning: Conditioning,
) -> Tensor:
    """Normalised actions, float32 [1, H, A].

    Args:
        stages: to run.
        layout: of this instruction and these image sizes.
        tables: of the wanted number of steps.
        features: [1, S, D].
        state: [1, T, s] in the precision of the weights.
        noise: float32 [1, H, A].
        conditioning: on committed motion, `Conditioning.none` without.

    """
    context = stages.context(features, *layout.indexes, state)
    *keys_and_values, state_tokens = context
    clean = conditioning.clean.bool()[..., None]
    actions = torch.where(conditioning.start.bool(), conditioning.prefix, noise)
    for step in range(tables.steps):
        actions = stages.denoise(
            actions,
            state_tokens,
            *keys_and_values,
            torch.where(clean, tables.clean_bias, tables.token_bias[step]),
            tables.modulations[step],
            tables.output_modulation[step],
            conditioning.prefix,
            conditioning.weight,
            conditioning.strength,
            tables.times[step],
            tables.dt,
            tables.gain,
        )
    return actions
