# SPDX-License-Identifier: Apache-2.0
"""Names of the weights in a GR00T N1.6 checkpoint."""

import re
from pathlib import Path

from groot_ros.families.gr00t.weights import WeightFiles, save_model
from groot_ros.families.gr00t_n1d6.config import EagleConfig, Gr00tN1d6Config
from groot_ros.families.gr00t_n1d6.network import Gr00tN1d6

__all__ = ["WEIGHTS", "load_config", "load_model", "save_model"]

WEIGHTS = WeightFiles(
    Gr00tN1d6,
    parts={
        "never used": (
            "backbone.model.language_model.lm_head.",
            "backbone.model.vision_model.vision_model.head.",
        ),
        "vision tower": ("backbone.model.vision_model.",),
        "connector": ("backbone.model.mlp1.",),
        "token embeddings": ("backbone.model.language_model.model.embed_tokens.",),
        "language tower": ("backbone.model.language_model.",),
        "diffusion transformer": ("action_head.model.",),
        "per embodiment": tuple(
            f"action_head.{name}." for name in ("state_encoder", "action_encoder", "action_decoder")
        ),
        "rest of the head": ("action_head.",),
        "other": ("",),
    },
    # Tensors of published checkpoints: vocabulary head and Siglip2 pooling head.
    unused=re.compile(
        r"backbone\.model\.(language_model\.lm_head\.weight"
        r"|vision_model\.vision_model\.head\..*)"
        r"|action_head\.mask_token"
    ),
    per_embodiment=re.compile(
        r"action_head\.(state_encoder|action_encoder|action_decoder)\..*\.[Wb]"
    ),
    # Exists if the checkpoint was trained with state dropout; only training needs it.
    optional=("action_head.mask_token",),
)
load_model = WEIGHTS.load


def load_config(directory: Path, eagle_config: Path) -> Gr00tN1d6Config:
    """Read config.json of the checkpoint together with the VLM's own config file."""
    return Gr00tN1d6Config.read(directory / "config.json", EagleConfig.read(eagle_config))
