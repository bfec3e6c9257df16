# SPDX-License-Identifier: Apache-2.0
"""A random checkpoint in the published layout, small enough to be written in every test."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from groot_ros.families.gr00t_n1d6.config import EagleConfig, Gr00tN1d6Config
from groot_ros.families.gr00t_n1d6.network import build_model
from groot_ros.families.gr00t_n1d6.processor_config import ProcessorConfig, save_processor
from groot_ros.families.gr00t_n1d6.weights import save_model
from groot_ros.layers.dit import DiTConfig
from groot_ros.layers.qwen3 import TextConfig
from groot_ros.layers.siglip2 import VisionConfig
from groot_ros.processing.modality import ActionConfig, Embodiment, ModalityConfig, Representation
from groot_ros.processing.tokenizer import IMAGE_TOKEN_INDEX, VOCAB_SIZE, write_byte_tokenizer

TAG = "new_embodiment"
HORIZON = 8
WIDTHS = {"single_arm": 5, "gripper": 1}


def tiny_config(**changes) -> Gr00tN1d6Config:
    """Return a config with every part and a few thousand parameters."""
    vision = VisionConfig(
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_patches=16,
        use_rope=False,
        use_windows_attn=False,
    )
    text = TextConfig(
        vocab_size=VOCAB_SIZE,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=8,
    )
    config = Gr00tN1d6Config(
        eagle=EagleConfig(vision, text, image_token_index=IMAGE_TOKEN_INDEX),
        select_layer=2,
        backbone_embedding_dim=16,
        max_state_dim=8,
        max_action_dim=8,
        action_horizon=HORIZON,
        hidden_size=16,
        input_embedding_dim=16,
        max_seq_len=32,
        max_num_embodiments=12,
        dit=DiTConfig(num_layers=4, num_attention_heads=2, attention_head_dim=8, output_dim=16),
        tune_llm=True,
        tune_visual=True,
    )
    return replace(config, **changes)


def tiny_processor_config(**changes) -> ProcessorConfig:
    """Return the config of an SO-101 with two cameras: relative arm, absolute gripper."""
    action = ModalityConfig(
        tuple(range(HORIZON)),
        tuple(WIDTHS),
        action_configs=(ActionConfig(Representation.RELATIVE), ActionConfig()),
    )
    embodiment = Embodiment(
        video=ModalityConfig((0,), ("front", "wrist")),
        state=ModalityConfig((0,), tuple(WIDTHS)),
        action=action,
        language=ModalityConfig((0,), ("task",)),
    )
    config = ProcessorConfig(
        {TAG: embodiment},
        shortest_image_edge=56,
        max_state_dim=8,
        max_action_dim=8,
        max_action_horizon=HORIZON,
        use_relative_action=True,
    )
    return replace(config, **changes)


def tiny_statistics() -> dict:
    """Return statistics: arm in degrees, gripper in 0..100."""

    def of(shape: tuple[int, ...], low: float, high: float) -> dict:
        limits = {"min": low, "max": high, "q01": low, "q99": high}
        return {k: np.full(shape, v) for k, v in {**limits, "mean": 0.0, "std": 1.0}.items()}

    def absolute() -> dict:
        return {"single_arm": of((5,), -90.0, 90.0), "gripper": of((1,), 0.0, 100.0)}

    relative = {"single_arm": of((HORIZON, 5), -20.0, 20.0)}
    return {TAG: {"state": absolute(), "action": absolute(), "relative_action": relative}}


def write_tiny_checkpoint(directory: Path, seed: int = 0, **changes) -> Path:
    """Write all files of a checkpoint; return the directory."""
    save_model(build_model(tiny_config(**changes), seed=seed), directory)
    save_processor(tiny_processor_config(), tiny_statistics(), directory)
    write_byte_tokenizer(directory)
    return directory
