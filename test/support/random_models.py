# SPDX-License-Identifier: Apache-2.0
"""Random models with weights of realistic magnitude, and batches of observations for them."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from groot_ros.core.program import ModelInputs
from groot_ros.families.gr00t.samples import Batch
from groot_ros.families.gr00t_n1d6.config import Gr00tN1d6Config
from groot_ros.families.gr00t_n1d6.network import Gr00tN1d6, build_model
from support.tiny_checkpoint import tiny_config

CELL = 28
#: Cells (height, width) of every view of one observation.
Views = Sequence[tuple[int, int]]


def vision_config(config: Gr00tN1d6Config, **changes) -> Gr00tN1d6Config:
    eagle = config.eagle
    return replace(config, eagle=replace(eagle, vision=replace(eagle.vision, **changes)))


def random_model(config: Gr00tN1d6Config | None = None, seed: int = 0) -> Gr00tN1d6:
    """Return a model with random biases, norms and positions too, so that every weight matters."""
    model = build_model(tiny_config() if config is None else config).eval()
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        inputs = {1: 4, 2: parameter.shape[-1]}.get(parameter.ndim, parameter.shape[-2:][0])
        values = torch.randn(parameter.shape, generator=generator) * (0.5 / inputs) ** 0.5
        offset = float(parameter.ndim == 1 and name.endswith("weight"))
        parameter.data = (values + offset).to(parameter.dtype)
        parameter.requires_grad_(False)
    return model


def observations(
    config: Gr00tN1d6Config, samples: Sequence[tuple[int, Views, int]], states: int = 1
) -> Batch:
    """Return a left-padded batch; a sample is (tokens before the images, views, tokens after)."""
    rng = np.random.default_rng(0)
    rows, images = [], []
    for before, views, after in samples:
        row = rng.integers(0, 200, before).tolist()
        for h, w in views:
            row += [config.eagle.image_token_index] * (h * w)
            images.append(rng.integers(0, 256, (3, h * CELL, w * CELL), dtype=np.uint8))
        rows.append(row + rng.integers(0, 200, after).tolist())
    length = max(map(len, rows))
    return Batch(
        input_ids=np.array([[0] * (length - len(row)) + row for row in rows]),
        attention_mask=np.array([[0] * (length - len(row)) + [1] * len(row) for row in rows]),
        images=images,
        state=rng.normal(size=(len(rows), states, config.max_state_dim)).astype(np.float32),
        embodiment_id=np.zeros(len(rows), dtype=np.int64),
    )


def noise_for(config: Gr00tN1d6Config, batch: int = 1) -> np.ndarray:
    shape = (batch, config.action_horizon, config.max_action_dim)
    return np.random.default_rng(1).normal(size=shape).astype(np.float32)


def prefix_for(config: Gr00tN1d6Config, kind: str, batch: int = 1) -> ModelInputs:
    """Return a prefix for every row: "none", "frozen", "guided", "clean" or "random"."""
    shape = (batch, config.action_horizon, config.max_action_dim)
    zeros, ones = np.zeros(shape, dtype=np.float32), np.ones(shape, dtype=np.float32)
    rng = np.random.default_rng(2)
    prefix = rng.uniform(-1, 1, shape).astype(np.float32)
    early = np.zeros_like(zeros)
    early[:, : shape[1] // 2] = 1.0
    share = rng.random(shape).astype(np.float32)
    if kind == "none":
        return {}
    start, weight, strength, clean = {
        "frozen": (early, zeros, 1.0 - early, zeros[..., 0]),
        "guided": (zeros, early * share, ones, zeros[..., 0]),
        "clean": (early, zeros, 1.0 - early, early[..., 0]),
        "random": (np.round(share), share, 1.0 - share, early[..., 0]),
    }[kind]
    return {
        "prefix": prefix,
        "start": start,
        "weight": weight,
        "strength": strength,
        "clean": clean,
    }


def model_inputs(
    config: Gr00tN1d6Config,
    samples: Sequence[tuple[int, Views, int]],
    states: int = 1,
    kind: str = "none",
) -> list[ModelInputs]:
    """Return what an engine takes for every sample of `observations`: with noise and a prefix."""
    batch = observations(config, samples, states)
    drawn = {
        "noise": noise_for(config, len(samples)),
        **prefix_for(config, kind, len(samples)),
    }
    return [
        {**batch.inputs(row), **{name: array[row : row + 1] for name, array in drawn.items()}}
        for row in range(len(samples))
    ]
