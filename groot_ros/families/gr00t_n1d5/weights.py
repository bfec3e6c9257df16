# SPDX-License-Identifier: Apache-2.0
"""Read and write the weights of a checkpoint in NVIDIA's or LeRobot's names."""

import re
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import torch

from groot_ros.checkpoint.safetensors_file import TensorEntry, index_checkpoint
from groot_ros.checkpoint.weights import (
    fit_tensors,
    load_parameters,
    save_parameters,
    save_random_parameters,
    write_json,
)
from groot_ros.core.config_reader import CheckpointError
from groot_ros.families.family import WeightGroup
from groot_ros.families.gr00t_n1d5.config import Gr00tN1d5Config, fit_to_tensors
from groot_ros.families.gr00t_n1d5.network import Gr00tN1d5, build_model

#: Prefix of all names in LeRobot's layout.
LEROBOT_PREFIX = "_groot_model."
HEAD = "action_head."
_LANGUAGE = "backbone.eagle_model.language_model."
EMBEDDINGS = f"{_LANGUAGE}model.embed_tokens.weight"
#: The vocabulary head: never computed, but the only copy of tied embeddings in LeRobot's files.
VOCABULARY = f"{_LANGUAGE}lm_head.weight"
_UNUSED = re.compile(
    r"backbone\.eagle_model\.(language_model\.lm_head\.weight"
    r"|vision_model\.vision_model\.head\..*)"
    r"|backbone\.eagle_model\.language_model\.model\.layers\.\d+\..*"
)
_PER_EMBODIMENT = re.compile(
    r"action_head\.(state_encoder|action_encoder|action_\w*decoder|shared_arm_decoder)\..*\.[Wb]"
)
#: Part of the network -> prefixes of its tensors' names; the first match counts.
_PREFIXES = {
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
}
_OTHER = "not part of the network"


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


def with_decoders_of(config: Gr00tN1d5Config, directory: Path) -> Gr00tN1d5Config:
    """Return the configuration with the decoders that the weights have; see `fit_to_tensors`."""
    shapes = {name: entry.shape for name, entry in index_weights(directory).items()}
    return replace(config, head=fit_to_tensors(config.head, shapes, HEAD))


def load_model(
    directory: Path,
    config: Gr00tN1d5Config,
    *,
    embodiment: int | None = None,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    only: Callable[[str], bool] | None = None,
    progress: Callable[[float], None] | None = None,
) -> Gr00tN1d5:
    """Load the reference model in eval mode.

    Args:
        directory: contains model.safetensors, or shards and their index.
        config: configuration of the network.
        embodiment: row of the category-specific weights to keep; it becomes row 0 of the model.
            None keeps all rows, for training.
        device: device of the weights.
        dtype: element type of the weights.
        only: returns True for the names of parameters to load; the others stay on "meta".
        progress: called with the fraction of the bytes read so far.

    Raises:
        CheckpointError: tensors are missing, unexpected, misshapen or not finite.

    """
    entries = fitting_tensors(directory, config)
    kept, rows = config, config.head.max_num_embodiments
    if embodiment is not None:
        if not 0 <= embodiment < rows:
            raise CheckpointError(
                f"{directory / 'config.json'}: 'max_num_embodiments' is {rows}, so embodiment "
                f"{embodiment} does not exist"
            )
        kept = replace(config, head=replace(config.head, max_num_embodiments=1))
    model = build_model(kept, device="meta", dtype=dtype)
    load_parameters(
        model,
        entries,
        rows=lambda name: embodiment if _PER_EMBODIMENT.fullmatch(name) else None,
        device=device,
        dtype=dtype,
        only=only,
        progress=progress,
    )
    return model.eval()


def fitting_tensors(directory: Path, config: Gr00tN1d5Config) -> dict[str, TensorEntry]:
    """Return the entry of every tensor of the model, without reading its values.

    Layers of the language model above `select_layer` may exist; they are skipped.

    Raises:
        CheckpointError: tensors are missing, unexpected or misshapen, or a file is truncated.

    """
    model = build_model(config, device="meta")
    shapes = {name: tuple(parameter.shape) for name, parameter in model.named_parameters()}
    return fit_tensors(directory, shapes, index_weights(directory), unused=_UNUSED)


def weight_groups(directory: Path) -> tuple[WeightGroup, ...]:
    """Return the size of every part of the network that has tensors."""
    tensors: dict[str, list[TensorEntry]] = {name: [] for name in _PREFIXES}
    for name, entry in index_weights(directory).items():
        if name == EMBEDDINGS and entry.name.endswith("lm_head.weight"):
            continue
        part = next((n for n, p in _PREFIXES.items() if name.startswith(p)), _OTHER)
        tensors.setdefault(part, []).append(entry)
    return tuple(_group(name, own) for name, own in tensors.items() if own)


def _group(name: str, entries: Iterable[TensorEntry]) -> WeightGroup:
    own = list(entries)
    return WeightGroup(
        name,
        sum(entry.nbytes // entry.dtype.itemsize for entry in own),
        sum(entry.nbytes for entry in own),
        tuple(sorted({str(entry.dtype).removeprefix("torch.") for entry in own})),
    )


def save_model(
    model: Gr00tN1d5,
    directory: Path,
    *,
    max_shard_bytes: int | None = None,
    prefix: str = "",
) -> None:
    """Write config.json, eagle_config.json and model.safetensors, or shards with their index.

    Args:
        model: the model to save.
        directory: directory to write to; it is created if missing.
        max_shard_bytes: largest size of a shard in bytes; None = one file.
        prefix: prefix of all names; `LEROBOT_PREFIX` gives LeRobot's.

    """
    directory.mkdir(parents=True, exist_ok=True)
    write_json(directory / "config.json", model.config.to_json())
    write_json(directory / "eagle_config.json", model.config.eagle.to_json())
    tensors = {prefix + n: p.detach().cpu().contiguous() for n, p in model.named_parameters()}
    save_parameters(tensors, directory, max_shard_bytes)


def write_random_weights(
    config: Gr00tN1d5Config,
    seed: int,
    directory: Path,
    dtype: torch.dtype | None = None,
    max_shard_bytes: int | None = None,
) -> None:
    """Write model.safetensors, or shards, with random weights; see `save_random_parameters`."""
    model = build_model(config, device="meta")
    save_random_parameters(model, seed, directory, dtype, max_shard_bytes)
