# SPDX-License-Identifier: Apache-2.0
"""A random GR00T N1.5 checkpoint in NVIDIA's layout, small enough to be written in every test."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from groot_ros.families.gr00t_n1d5.config import (
    BackboneConfig,
    BimanualConfig,
    EagleConfig,
    Gr00tN1d5Config,
    HeadConfig,
)
from groot_ros.families.gr00t_n1d5.network import Gr00tN1d5, build_model
from groot_ros.families.gr00t_n1d5.new_checkpoint import make_config, write_config
from groot_ros.families.gr00t_n1d5.weights import save_model
from groot_ros.families.training import DataLayout
from groot_ros.layers.dit import DiTConfig
from groot_ros.layers.qwen3 import TextConfig
from groot_ros.layers.siglip import SiglipConfig
from groot_ros.processing.tokenizer import IMAGE_TOKEN_INDEX, VOCAB_SIZE

TAG, HORIZON = "new_embodiment", 8
BIMANUAL = BimanualConfig()
#: Groups of the bimanual robot that is shipped, and their columns.
ARMS = {"left_arm": 7, "right_arm": 7, "left_hand": 1, "right_hand": 1}


def tiny_config(
    bimanual: BimanualConfig | None = None, layers: int = 2, **changes
) -> Gr00tN1d5Config:
    """Return a config with every part and a few thousand parameters.

    Args:
        bimanual: configuration of the bimanual decoders; None = one decoder.
        layers: layers of the vision tower and of the language tower that are used.
        **changes: fields of the head's configuration.

    """
    eagle = EagleConfig(
        vision=SiglipConfig(16, 24, layers, 2, image_size=28, patch_size=14),
        text=TextConfig(VOCAB_SIZE, 16, 24, 3, 2, 1, 8),
        image_token_index=IMAGE_TOKEN_INDEX,
    )
    head = HeadConfig(
        backbone_embedding_dim=12,
        max_state_dim=20,
        action_dim=16,
        encoder_dim=18 if bimanual else 16,
        action_horizon=HORIZON,
        hidden_size=16,
        input_embedding_dim=16,
        max_seq_len=32,
        future_tokens=3,
        dit=DiTConfig(num_layers=3, num_attention_heads=2, attention_head_dim=8, output_dim=16),
        vl_self_attention=DiTConfig(num_layers=2, num_attention_heads=3, attention_head_dim=4),
        bimanual=bimanual,
    )
    return Gr00tN1d5Config(eagle, BackboneConfig(layers, 12), replace(head, **changes))


def tiny_model(bimanual: BimanualConfig | None = None, seed: int = 0, **changes) -> Gr00tN1d5:
    """Return a reference model in eval mode, with random values in all its parameters."""
    import torch

    model = build_model(tiny_config(bimanual, **changes), seed=seed).eval().requires_grad_(False)
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        parameter += 0.2 * torch.randn(parameter.shape, generator=generator)
    return model


def write_tiny_n1d5(
    directory: Path,
    bimanual: BimanualConfig | None = None,
    views: tuple[str, ...] = ("front", "wrist"),
    statistics: dict | None = None,
    groups: Mapping[str, int] | None = None,
    **changes,
) -> Path:
    """Write all files of a checkpoint for two arms, or for `groups`; return the directory."""
    groups = groups or ARMS
    layout = DataLayout(TAG, views, groups, groups, HORIZON, statistics=statistics or {})
    model = tiny_model(bimanual, **changes)
    write_config(make_config(model.config, layout), directory)
    save_model(model, directory)
    return directory
