# SPDX-License-Identifier: Apache-2.0
"""Read and write the weights of a checkpoint directory, tensor by tensor."""

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
from groot_ros.families.gr00t_n1d6.config import EagleConfig, Gr00tN1d6Config
from groot_ros.families.gr00t_n1d6.network import Gr00tN1d6, build_model

#: Tensors of published checkpoints that are not used: vocabulary head and Siglip2 pooling head.
_UNUSED = re.compile(
    r"backbone\.model\.(language_model\.lm_head\.weight"
    r"|vision_model\.vision_model\.head\..*)"
    r"|action_head\.mask_token"
)
#: Exists if the checkpoint was trained with state dropout; only training needs it.
_MASK_TOKEN = "action_head.mask_token"
_PER_EMBODIMENT = re.compile(
    r"action_head\.(state_encoder|action_encoder|action_decoder)\..*\.[Wb]"
)
#: Part of the network -> prefixes of its tensors' names; the first match counts.
_PREFIXES = {
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
}
#: Part of tensors that the network does not have.
_OTHER = "not part of the network"


def load_config(directory: Path, eagle_config: Path) -> Gr00tN1d6Config:
    """Read config.json of the checkpoint together with the VLM's own config file."""
    return Gr00tN1d6Config.read(directory / "config.json", EagleConfig.read(eagle_config))


def load_model(
    directory: Path,
    config: Gr00tN1d6Config,
    *,
    embodiment: int | None = None,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    only: Callable[[str], bool] | None = None,
    progress: Callable[[float], None] | None = None,
) -> Gr00tN1d6:
    """Load the reference model in eval mode.

    Args:
        directory: contains model.safetensors, or shards and their index.
        config: configuration from `load_config`.
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
    kept = config
    if embodiment is not None:
        if not 0 <= embodiment < config.max_num_embodiments:
            raise CheckpointError(
                f"{directory / 'config.json'}: 'max_num_embodiments' is "
                f"{config.max_num_embodiments}, so embodiment {embodiment} does not exist"
            )
        kept = replace(config, max_num_embodiments=1)
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


def fitting_tensors(directory: Path, config: Gr00tN1d6Config) -> dict[str, TensorEntry]:
    """Return the entry of every tensor of the model, without reading its values.

    Only the mask token may be absent.

    Raises:
        CheckpointError: tensors are missing, unexpected or misshapen, or a file is truncated.

    """
    entries = index_checkpoint(directory)
    model = build_model(config, device="meta")
    shapes = {name: tuple(parameter.shape) for name, parameter in model.named_parameters()}
    return fit_tensors(directory, shapes, entries, unused=_UNUSED, optional=(_MASK_TOKEN,))


def weight_groups(entries: Iterable[TensorEntry]) -> tuple[WeightGroup, ...]:
    """Return the size of every part of the network that has tensors."""
    tensors: dict[str, list[TensorEntry]] = {name: [] for name in _PREFIXES}
    for entry in entries:
        part = next((n for n, p in _PREFIXES.items() if entry.name.startswith(p)), _OTHER)
        tensors.setdefault(part, []).append(entry)
    return tuple(
        WeightGroup(
            name,
            sum(entry.nbytes // entry.dtype.itemsize for entry in own),
            sum(entry.nbytes for entry in own),
            tuple(sorted({str(entry.dtype).removeprefix("torch.") for entry in own})),
        )
        for name, own in tensors.items()
        if own
    )


def save_model(model: Gr00tN1d6, directory: Path, *, max_shard_bytes: int | None = None) -> None:
    """Write config.json, eagle_config.json and model.safetensors, or shards with their index.

    A published checkpoint has no eagle_config.json; with it the directory needs no other config
    of the VLM.

    Args:
        model: the model to save.
        directory: directory to write to; it is created if missing.
        max_shard_bytes: largest size of a shard in bytes; None = one file.

    """
    directory.mkdir(parents=True, exist_ok=True)
    write_json(directory / "config.json", model.config.to_json())
    write_json(directory / "eagle_config.json", model.config.eagle.to_json())
    tensors = {name: p.detach().cpu().contiguous() for name, p in model.named_parameters()}
    save_parameters(tensors, directory, max_shard_bytes)


def write_random_weights(
    config: Gr00tN1d6Config,
    seed: int,
    directory: Path,
    dtype: torch.dtype | None = None,
    max_shard_bytes: int | None = None,
) -> None:
    """Write model.safetensors, or shards and their index, with random weights.

    Matrices have small values, norms are 1 and biases 0, as at the start of training. Only one
    shard is in memory at a time.
    """
    model = build_model(config, device="meta")
    save_random_parameters(model, seed, directory, dtype, max_shard_bytes)
