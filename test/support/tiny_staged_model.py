"""A tiny staged model, and observations for it."""

from collections.abc import Sequence

import numpy as np
import torch

from groot_ros.models.gr00t_n1d6 import Gr00tN1d6Config, build_model
from groot_ros.processing import IMAGE_TOKEN_INDEX, ModelInputs
from groot_ros.runtime.engine import PrefixInput
from groot_ros.runtime.gr00t_n1d6 import StagedModel, make_fast
from support.tiny_checkpoint import HORIZON, tiny_config

EMBODIMENT = 10


def fast_model(config: Gr00tN1d6Config | None = None) -> StagedModel:
    """Return a staged model; the weights are the same in every call."""
    torch.manual_seed(0)
    return make_fast(build_model(config or tiny_config(), seed=0), embodiment=EMBODIMENT)


def observation(
    seed: int = 0, words: int = 3, sides: Sequence[int] = (56, 56), batch: int = 1
) -> ModelInputs:
    """Return a batch with `words` text tokens, then one square image per entry of `sides`."""
    rng = np.random.default_rng(seed)
    cells = [(side // 28) ** 2 for side in sides]
    text = rng.integers(1, 200, (batch, words))
    images = np.full((batch, sum(cells)), IMAGE_TOKEN_INDEX)
    ids = np.concatenate([text, images, text[:, :1]], axis=1)
    pixels = [
        rng.integers(0, 256, (3, side, side), dtype=np.uint8)
        for _ in range(batch)
        for side in sides
    ]
    return ModelInputs(
        input_ids=ids,
        attention_mask=np.ones_like(ids),
        images=pixels,
        state=rng.normal(size=(batch, 1, 8)).astype(np.float32),
        embodiment_id=np.full(batch, EMBODIMENT),
    )


def noise(seed: int = 0, batch: int = 1) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(batch, HORIZON, 8)).astype(np.float32)


def prefix(seed: int = 0) -> PrefixInput:
    """Return a prefix with two frozen steps and guidance on the next two."""
    rng = np.random.default_rng(seed)
    full = np.zeros((1, HORIZON, 8), dtype=np.float32)
    frozen, pull = full.copy(), full.copy()
    frozen[:, :2] = 1.0
    pull[:, 2:4] = 0.5
    values = rng.normal(size=full.shape).astype(np.float32)
    return PrefixInput(values, frozen, pull, 1.0 - frozen, frozen[..., 0].copy())
