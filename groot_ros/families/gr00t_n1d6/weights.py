# SPDX-License-Identifier: Apache-2.0
"""Read and write the weights of a checkpoint directory, tensor by tensor."""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn
from tqdm import tqdm

from groot_ros.checkpoint.safetensors_file import TensorEntry, index_checkpoint
from groot_ros.core.config_reader import CheckpointError
from groot_ros.families.family import WeightGroup
from groot_ros.families.gr00t_n1d6.config import EagleConfig, Gr00tN1d6Config
from groot_ros.families.gr00t_n1d6.network import Gr00tN1d6, build_model

#: Tensors of published checkpoints that are not used: vocabulary head and Siglip2 pooling head.
_UNUSED = re.compile(
    r"backbone\.model\.(language_model\.lm_head\.weight"
    r"|vision_model\.vision_model\.head\..*)"
)
#: Exists if the checkpoint was trained with state dropout; only training needs it.
_MASK_TOKEN = "action_head.mask_token"
_PER_EMBODIMENT = re.compile(
    r"action_head\.(state_encoder|action_encoder|action_decoder)\..*\.[Wb]"
)
_SHOWN = 5
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

    parameters = [(n, p) for n, p in model.named_parameters() if only is None or only(n)]
    total, done = sum(entries[name].nbytes for name, _ in parameters if name in entries), 0
    for name, parameter in parameters:
        if name in entries:
            tensor = _read(entries[name], embodiment if _PER_EMBODIMENT.fullmatch(name) else None)
            done += entries[name].nbytes
        else:
            tensor = 0.02 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(0))
        _assign(model, name, tensor.to(device=device, dtype=dtype))
        if progress is not None and total:
            progress(done / total)
    return model.eval()


def fitting_tensors(directory: Path, config: Gr00tN1d6Config) -> dict[str, TensorEntry]:
    """Return the entry of every tensor of the model, without reading its values.

    Only the mask token may be absent.

    Raises:
        CheckpointError: tensors are missing, unexpected or misshapen, or a file is truncated.

    """
    entries = index_checkpoint(directory)
    model = build_model(config, device="meta")
    expected = {name: tuple(parameter.shape) for name, parameter in model.named_parameters()}
    _require_same_keys(directory, expected.keys() - {_MASK_TOKEN}, entries)
    found = {name: entries[name] for name in expected if name in entries}
    for name, entry in found.items():
        if entry.shape != expected[name]:
            raise CheckpointError(
                f"{entry.path}: '{name}' has shape {list(entry.shape)}, "
                f"config.json requires {list(expected[name])}"
            )
    return found


def _require_same_keys(
    directory: Path, expected: set[str], entries: dict[str, TensorEntry]
) -> None:
    unused = {name for name in entries if _UNUSED.fullmatch(name) or name == _MASK_TOKEN}
    missing = sorted(expected - entries.keys())
    unexpected = sorted(entries.keys() - expected - unused)
    problems = [
        f"{len(names)} {what}: {', '.join(names[:_SHOWN])}"
        + (" ..." if len(names) > _SHOWN else "")
        for what, names in (("missing", missing), ("unexpected", unexpected))
        if names
    ]
    if problems:
        raise CheckpointError(f"{directory}: tensors do not fit config.json: {'; '.join(problems)}")


def _read(entry: TensorEntry, row: int | None) -> torch.Tensor:
    tensor = entry.read(row)
    # Unlike isfinite, aminmax needs no memory of the tensor's size, and it propagates NaN.
    if tensor.numel() and not all(torch.isfinite(v) for v in torch.aminmax(tensor)):
        raise CheckpointError(f"{entry.path}: '{entry.name}' holds values that are not finite")
    return tensor


def _assign(model: nn.Module, name: str, tensor: torch.Tensor) -> None:
    owner, _, leaf = name.rpartition(".")
    module = model.get_submodule(owner)
    setattr(module, leaf, nn.Parameter(tensor, requires_grad=False))


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
    _write_json(directory / "config.json", model.config.to_json())
    _write_json(directory / "eagle_config.json", model.config.eagle.to_json())
    tensors = {name: p.detach().cpu().contiguous() for name, p in model.named_parameters()}
    shards = _split(tensors, max_shard_bytes)
    if len(shards) == 1:
        _save_weights(tensors, directory / "model.safetensors")
        return
    weight_map = {}
    for number, shard in enumerate(shards, start=1):
        name = f"model-{number:05d}-of-{len(shards):05d}.safetensors"
        _save_weights(shard, directory / name)
        weight_map.update(dict.fromkeys(shard, name))
    size = sum(t.nbytes for t in tensors.values())
    index = {"metadata": {"total_size": size}, "weight_map": dict(sorted(weight_map.items()))}
    _write_json(directory / "model.safetensors.index.json", index)


def _split(tensors: Mapping[str, torch.Tensor], limit: int | None) -> list[dict[str, torch.Tensor]]:
    shards: list[dict[str, torch.Tensor]] = [{}]
    used = 0
    for name, tensor in tensors.items():
        if limit is not None and shards[-1] and used + tensor.nbytes > limit:
            shards.append({})
            used = 0
        shards[-1][name] = tensor
        used += tensor.nbytes
    return shards


def _save_weights(tensors: dict[str, torch.Tensor], path: Path) -> None:
    # save_file creates files that only their owner can read; a file from `touch` follows the umask.
    path.unlink(missing_ok=True)
    path.touch()
    mode = path.stat().st_mode & 0o777
    save_file(tensors, path, metadata={"format": "pt"})
    path.chmod(mode)


def _write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


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
    dtype = torch.float32 if dtype is None else dtype
    model = build_model(config, device="meta", dtype=dtype)
    shapes = {name: p for name, p in model.named_parameters()}
    shards = _split(shapes, max_shard_bytes)
    generator = torch.Generator().manual_seed(seed)
    weight_map = {}
    for number, shard in enumerate(tqdm(shards, desc="writing weights", disable=None), start=1):
        file = "model.safetensors"
        if len(shards) > 1:
            file = f"model-{number:05d}-of-{len(shards):05d}.safetensors"
        tensors = {name: torch.empty(p.shape, dtype=dtype) for name, p in shard.items()}
        for name, tensor in tensors.items():
            if tensor.ndim > 1:
                tensor.normal_(std=0.02, generator=generator)
            else:
                tensor.fill_(float(name.endswith("weight")))
        _save_weights(tensors, directory / file)
        weight_map.update(dict.fromkeys(shard, file))
    if len(shards) > 1:
        size = sum(p.nbytes for p in shapes.values())
        index = {"metadata": {"total_size": size}, "weight_map": dict(sorted(weight_map.items()))}
        _write_json(directory / "model.safetensors.index.json", index)
