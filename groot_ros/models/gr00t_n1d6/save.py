"""Writes the model's part of a checkpoint directory in the layout that real checkpoints have."""

import json
from pathlib import Path

import torch
from safetensors.torch import save_file

from groot_ros.models.gr00t_n1d6.model import Gr00tN1d6


def save_model(model: Gr00tN1d6, directory: Path, *, max_shard_bytes: int | None = None) -> None:
    """config.json, eagle_config.json and model.safetensors, or shards with their index.

    A real checkpoint has no eagle_config.json; with it the directory needs no other assets.
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


def _split(tensors: dict[str, torch.Tensor], limit: int | None) -> list[dict[str, torch.Tensor]]:
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
    # The library makes files for their owner alone; one that Python makes follows the umask.
    path.unlink(missing_ok=True)
    path.touch()
    mode = path.stat().st_mode & 0o777
    save_file(tensors, path, metadata={"format": "pt"})
    path.chmod(mode)


def _write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
