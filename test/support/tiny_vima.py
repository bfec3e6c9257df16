# SPDX-License-Identifier: Apache-2.0
"""A VIMA of a few thousand parameters, and pictures with coloured rectangles."""

from collections.abc import Mapping

import numpy as np

from groot_ros.families.vima.checkpoint import random_network
from groot_ros.families.vima.config import MlpConfig, ObjectConfig, PromptConfig, VimaConfig
from groot_ros.families.vima.policy import VimaPolicy
from groot_ros.families.vima.prompt import MultimodalPrompt, PromptTokenizer, word_tokenizer
from groot_ros.vision.objects import Objects, View, find_objects

WORDS = ("put", "the", "into", "rotate", "this", ".")
TEXT = "put the {dragged_obj} into the {base_obj}."
VIEWS = ("front", "top")


def tiny_config(**changes: object) -> VimaConfig:
    """Return a configuration with all sizes different from each other where they can be."""
    sizes = {
        "embed_dim": 24,
        "xf_n_layers": 2,
        "sattn_n_heads": 4,
        "xattn_n_heads": 3,
        "n_positions": 100,
        "xattn_n_positions": 40,
        "xattn_ff_expanding": 2,
        "objects": ObjectConfig(
            vit_output_dim=14,
            vit_width=12,
            vit_layers=1,
            vit_heads=3,
            bbox_mlp_hidden_dim=10,
            bbox_mlp_hidden_depth=1,
        ),
        "prompt": PromptConfig(d_model=16, d_kv=5, d_ff=18, num_layers=2, num_heads=2),
        "word_vocab": 60,
        "action_embed": MlpConfig(9, 1),
        "action_embed_output": 7,
        "action_decoder": MlpConfig(11, 1),
        "prompt_obj_post": MlpConfig(13, 2),
        "bins": {
            "pose0_position": (6, 8),
            "pose0_rotation": (5, 5, 5, 5),
            "pose1_position": (6, 8),
            "pose1_rotation": (5, 7, 5, 5),
        },
    }
    return VimaConfig(**{**sizes, **changes})


def tiny_tokenizer() -> PromptTokenizer:
    """Return a tokenizer of `WORDS`."""
    return word_tokenizer(WORDS)


def tiny_policy(seed: int = 0, **changes: object) -> VimaPolicy:
    """Return a policy with random weights."""
    return VimaPolicy(random_network(tiny_config(**changes), seed), tiny_tokenizer())


def scene(ids: Mapping[str, tuple[int, ...]] | tuple[int, ...], seed: int = 0) -> dict[str, View]:
    """Return pictures of 128 x 256 pixels with one rectangle per id, by view or in all views."""
    rng = np.random.default_rng(seed)
    views = {}
    for view in VIEWS:
        image = rng.integers(0, 256, (128, 256, 3), dtype=np.uint8)
        labels = np.zeros((128, 256), np.uint8)
        own = ids[view] if isinstance(ids, Mapping) else ids
        for slot, number in enumerate(own):
            top, left = rng.integers(0, 90), 4 + 40 * slot + rng.integers(0, 5)
            labels[top : top + rng.integers(5, 30), left : left + rng.integers(5, 30)] = number
        views[view] = View(image, labels)
    return views


def objects(*ids: int, seed: int = 0) -> Objects:
    """Return the objects of a picture in which every view shows them all."""
    return find_objects(scene(ids, seed), ids)


def prompt(seed: int = 0, text: str = TEXT) -> MultimodalPrompt:
    """Return a prompt with two pictures of one object each."""
    return MultimodalPrompt(
        text, {"dragged_obj": objects(3, seed=seed), "base_obj": objects(5, seed=seed + 1)}
    )
