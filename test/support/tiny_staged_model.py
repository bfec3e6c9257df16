# SPDX-License-Identifier: Apache-2.0
"""A tiny staged model, and model inputs of one observation for it."""

from collections.abc import Sequence

import numpy as np
import torch

from groot_ros.core.program import ModelInputs
from groot_ros.families.gr00t_n1d6.config import Gr00tN1d6Config
from groot_ros.families.gr00t_n1d6.network import build_model
from groot_ros.families.gr00t_n1d6.program import StagedModel, make_staged
from groot_ros.processing.tokenizer import IMAGE_TOKEN_INDEX
from support.tiny_checkpoint import HORIZON, tiny_config

EMBODIMENT = 10


def staged_model(config: Gr00tN1d6Config | None = None) -> StagedModel:
    """Return a staged model; the weights are the same in every call."""
    torch.manual_seed(0)
    return make_staged(build_model(config or tiny_config(), seed=0), embodiment=EMBODIMENT)


def observation(seed: int = 0, words: int = 3, sides: Sequence[int] = (56, 56)) -> ModelInputs:
    """Return inputs with noise: `words` text tokens, then one square image per entry of `sides`."""
    rng = np.random.default_rng(seed)
    cells = [(side // 28) ** 2 for side in sides]
    text = rng.integers(1, 200, (1, words))
    images = np.full((1, sum(cells)), IMAGE_TOKEN_INDEX)
    ids = np.concatenate([text, images, text[:, :1]], axis=1)
    pixels = [rng.integers(0, 256, (3, side, side), dtype=np.uint8) for side in sides]
    return {
        "input_ids": ids,
        "attention_mask": np.ones_like(ids),
        "state": rng.normal(size=(1, 1, 8)).astype(np.float32),
        "embodiment_id": np.full(1, EMBODIMENT),
        **{f"image.{i}": image for i, image in enumerate(pixels)},
        **noise(seed),
    }


def noise(seed: int = 0) -> ModelInputs:
    """Return the noise alone, to replace that of an observation."""
    rng = np.random.default_rng(seed)
    return {"noise": rng.normal(size=(1, HORIZON, 8)).astype(np.float32)}


def prefix(seed: int = 0) -> ModelInputs:
    """Return the inputs of a prefix with two frozen steps and guidance on the next two."""
    rng = np.random.default_rng(seed)
    full = np.zeros((1, HORIZON, 8), dtype=np.float32)
    start, weight = full.copy(), full.copy()
    start[:, :2] = 1.0
    weight[:, 2:4] = 0.5
    return {
        "prefix": rng.normal(size=full.shape).astype(np.float32),
        "start": start,
        "weight": weight,
        "strength": 1.0 - start,
        "clean": start[..., 0].copy(),
    }
