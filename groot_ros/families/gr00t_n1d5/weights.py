# SPDX-License-Identifier: Apache-2.0
"""Names of the weights in a GR00T N1.5 checkpoint, NVIDIA's or LeRobot's."""

import re
from dataclasses import replace
from pathlib import Path

from groot_ros.checkpoint.safetensors_file import TensorEntry, index_checkpoint
from groot_ros.families.gr00t.weights import WeightFiles, save_model
from groot_ros.families.gr00t_n1d5.config import Gr00tN1d5Config, fit_to_tensors
from groot_ros.families.gr00t_n1d5.network import Gr00tN1d5

__all__ = ["WEIGHTS", "load_model", "save_model", "with_decoders_of"]

#: Prefix of all names in LeRobot's layout.
LEROBOT_PREFIX = "_groot_model."
HEAD = "action_head."
_LANGUAGE = "backbone.eagle_model.language_model."
EMBEDDINGS = f"{_LANGUAGE}model.embed_tokens.weight"
#: The vocabulary head: never computed, but the only copy of tied embeddings in LeRobot's files.
VOCABULARY = f"{_LANGUAGE}lm_head.weight"


def index_weights(directory: Path) -> dict[str, TensorEntry]:
    """Return all tensors of a checkpoint by NVIDIA's names.

    LeRobot's prefix is removed. Tied token embeddings that are stored under the name of the
    vocabulary head get their own name; the head is never read as embeddings if both are there.

    Raises:
        CheckpointError: see `index_checkpoint`.

    """
    found = {n.removeprefix(LEROBOT_PREFIX): e for n, e in index_checkpoint(directory).items()}
    if EMBEDDINGS not in found and VOCABULARY in found:
        found[EMBEDDINGS] = found[VOCABULARY]
    return found


WEIGHTS = WeightFiles(
    Gr00tN1d5,
    parts={
        "never used": (VOCABULARY, "backbone.eagle_model.vision_model.vision_model.head."),
        "vision tower": ("backbone.eagle_model.vision_model.",),
        "connector": ("backbone.eagle_model.mlp1.", "backbone.eagle_linear."),
        "token embeddings": (EMBEDDINGS,),
        "language tower": (_LANGUAGE,),
        "feature attention": ("action_head.vlln.", "action_head.vl_self_attention."),
        "diffusion transformer": ("action_head.model.",),
        "arm attention": tuple(
            f"action_head.shared_arm_decoder.{name}" for name in ("cross_attn", "layer_norm")
        ),
        "per embodiment": tuple(
            f"action_head.{name}"
            for name in ("state_encoder.", "action_encoder.", "action_", "shared_arm_decoder.")
        ),
        "rest of the head": ("action_head.",),
        "other": ("",),
    },
    # Layers of the language model above `select_layer` may exist.
    unused=re.compile(
        r"backbone\.eagle_model\.(language_model\.lm_head\.weight"
        r"|vision_model\.vision_model\.head\..*)"
        r"|backbone\.eagle_model\.language_model\.model\.layers\.\d+\..*"
    ),
    per_embodiment=re.compile(
        r"action_head\.(state_encoder|action_encoder|action_\w*decoder|shared_arm_decoder)\..*\.[Wb]"
    ),
    index=index_weights,
)
load_model = WEIGHTS.load


def with_decoders_of(config: Gr00tN1d5Config, directory: Path) -> Gr00tN1d5Config:
    """Return the configuration with the decoders that the weights have; see `fit_to_tensors`."""
    shapes = {name: entry.shape for name, entry in index_weights(directory).items()}
    return replace(config, head=fit_to_tensors(config.head, shapes, HEAD))
