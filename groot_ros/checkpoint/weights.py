# SPDX-License-Identifier: Apache-2.0
"""Read the parameters of a network tensor by tensor, and write them to files or shards."""

import json
import math
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import nn

from groot_ros.checkpoint.safetensors_file import TensorEntry
from groot_ros.core.config_reader import CheckpointError

_SHOWN = 5
#: Random values that are drawn and then repeated.
_BLOCK = 1 << 24


def fit_tensors(
    directory: Path,
    shapes: Mapping[str, tuple[int, ...]],
    entries: Mapping[str, TensorEntry],
    *,
    unused: re.Pattern[str],
    optional: Iterable[str] = (),
) -> dict[str, TensorEntry]:
    """Return the entries of a network's parameters.

    Args:
        directory: directory of the checkpoint, for messages.
        shapes: name -> shape of every parameter.
        entries: tensors of the checkpoint.
        unused: names of tensors that the network does not have and that are skipped.
        optional: names of parameters that may be absent.

    Raises:
        CheckpointError: tensors are missing, unexpected or misshapen.

    """
    missing = sorted(shapes.keys() - set(optional) - entries.keys())
    unexpected = sorted(
        name for name in entries.keys() - shapes.keys() if not unused.fullmatch(name)
    )
    problems = [
        f"{len(names)} {what}: {', '.join(names[:_SHOWN])}"
        + (" ..." if len(names) > _SHOWN else "")
        for what, names in (("missing", missing), ("unexpected", unexpected))
        if names
    ]
    if problems:
        raise CheckpointError(f"{directory}: tensors do not fit config.json: {'; '.join(problems)}")
    found = {name: entries[name] for name in shapes if name in entries}
    for name, entry in found.items():
        if entry.shape != tuple(shapes[name]):
            raise CheckpointError(
                f"{entry.path}: '{name}' has shape {list(entry.shape)}, "
                f"config.json requires {list(shapes[name])}"
            )
    return found


def load_parameters(
    model: nn.Module,
    entries: Mapping[str, TensorEntry],
    *,
    rows: Callable[[str], int | None],
    device: torch.device | str,
    dtype: torch.dtype,
    only: Callable[[str], bool] | None = None,
    progress: Callable[[float], None] | None = None,
) -> None:
    """Read the parameters of a model; those that have no entry get small random values.

    Args:
        model: network, usually on "meta".
        entries: entry of each parameter, from `fit_tensors`.
        rows: returns the only row of a tensor to keep, None to keep all.
        device: device of the weights.
        dtype: element type of the weights.
        only: returns True for the names of parameters to load; the others stay as they are.
        progress: called with the fraction of the bytes read so far.

    Raises:
        CheckpointError: a file cannot be read, or values are not finite.

    """
    parameters = [(n, p) for n, p in model.named_parameters() if only is None or only(n)]
    total, done = sum(entries[name].nbytes for name, _ in parameters if name in entries), 0
    for name, parameter in parameters:
        if name in entries:
            tensor = _read(entries[name], rows(name))
            done += entries[name].nbytes
        else:
            tensor = 0.02 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(0))
        _assign(model, name, tensor.to(device=device, dtype=dtype))
        if progress is not None and total:
            progress(done / total)


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


def save_parameters(
    tensors: Mapping[str, torch.Tensor], directory: Path, max_shard_bytes: int | None = None
) -> None:
    """Write model.safetensors, or shards with their index.

    Args:
        tensors: name -> values, contiguous on the CPU.
        directory: existing directory.
        max_shard_bytes: largest size of a shard in bytes; None = one file.

    """
    _write_shards(tensors, directory, max_shard_bytes, lambda shard: dict(shard))


def save_changed_parameters(
    entries: Iterable[TensorEntry],
    changed: Mapping[str, torch.Tensor],
    rows: Callable[[str], int | None],
    directory: Path,
) -> None:
    """Write the tensors of a checkpoint, some of them with new values, in the same files.

    Tensors keep their element type. Those that are not changed are copied bit for bit, and so are
    the other rows of those of which one row is changed. Only one file is in memory at a time.

    Args:
        entries: all tensors of the checkpoint.
        changed: name -> new values; tensors that the checkpoint does not have are added.
        rows: returns the only row of a tensor that its new values [1, ...] replace, None for all.
        directory: existing directory.

    Raises:
        CheckpointError: a file of the checkpoint cannot be read.

    """
    files: dict[Path, list[TensorEntry]] = {}
    for entry in entries:
        files.setdefault(entry.path, []).append(entry)
    added = changed.keys() - {entry.name for own in files.values() for entry in own}
    weight_map: dict[str, str] = {}
    size = 0
    for number, (path, own) in enumerate(files.items(), start=1):
        tensors = {}
        for entry in own:
            row = rows(entry.name)
            new = changed.get(entry.name)
            if new is None or row is not None:
                tensors[entry.name] = entry.read()
            if new is not None and row is not None:
                tensors[entry.name][row] = new.detach()[0].to("cpu", entry.dtype)
            elif new is not None:
                tensors[entry.name] = new.detach().to("cpu", entry.dtype).contiguous()
        if number == len(files):
            tensors |= {name: changed[name].detach().cpu().contiguous() for name in sorted(added)}
        write_tensors(tensors, directory / path.name)
        weight_map.update(dict.fromkeys(tensors, path.name))
        size += sum(tensor.nbytes for tensor in tensors.values())
    if len(files) > 1:
        _write_index(directory, size, weight_map)


def save_random_parameters(
    model: nn.Module,
    seed: int,
    directory: Path,
    dtype: torch.dtype | None = None,
    max_shard_bytes: int | None = None,
) -> None:
    """Write model.safetensors, or shards and their index, with random weights.

    Matrices have small values, norms are 1 and biases 0, as at the start of training. Only one
    shard is in memory at a time.

    Args:
        model: network, on "meta" if it is large.
        seed: seed of the weights.
        directory: existing directory.
        dtype: element type of the weights; None = float32.
        max_shard_bytes: largest size of a shard in bytes; None = one file.

    """
    dtype = torch.float32 if dtype is None else dtype
    generator = torch.Generator().manual_seed(seed)

    def draw(shard: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        tensors = {name: torch.empty(p.shape, dtype=dtype) for name, p in shard.items()}
        for name, tensor in tensors.items():
            if tensor.ndim > 1:
                tensor.normal_(std=0.02, generator=generator)
            else:
                tensor.fill_(float(name.endswith("weight")))
        return tensors

    parameters = {name: p.to(dtype) for name, p in model.named_parameters()}
    _write_shards(parameters, directory, max_shard_bytes, draw)


def _write_shards(
    tensors: Mapping[str, torch.Tensor],
    directory: Path,
    limit: int | None,
    values: Callable[[Mapping[str, torch.Tensor]], dict[str, torch.Tensor]],
) -> None:
    shards: list[dict[str, torch.Tensor]] = [{}]
    used = 0
    for name, tensor in tensors.items():
        size = math.prod(tensor.shape) * tensor.dtype.itemsize
        if limit is not None and shards[-1] and used + size > limit:
            shards.append({})
            used = 0
        shards[-1][name] = tensor
        used += size
    weight_map = {}
    # Imported here: `benchmarks gpu` runs where little is installed.
    from tqdm import tqdm

    for number, shard in enumerate(tqdm(shards, desc="writing weights", disable=None), start=1):
        file = "model.safetensors"
        if len(shards) > 1:
            file = f"model-{number:05d}-of-{len(shards):05d}.safetensors"
        write_tensors(values(shard), directory / file)
        weight_map.update(dict.fromkeys(shard, file))
    if len(shards) > 1:
        _write_index(directory, sum(tensor.nbytes for tensor in tensors.values()), weight_map)


def _write_index(directory: Path, size: int, weight_map: Mapping[str, str]) -> None:
    index = {"metadata": {"total_size": size}, "weight_map": dict(sorted(weight_map.items()))}
    write_json(directory / "model.safetensors.index.json", index)


def write_tensors(tensors: Mapping[str, torch.Tensor], path: Path) -> None:
    """Write a safetensors file of tensors that are contiguous on the CPU.

    Raises:
        OSError: the file cannot be written, for example because the disk is full.

    """
    # save_file creates files that only their owner can read; a file from `touch` follows the umask.
    path.unlink(missing_ok=True)
    path.touch()
    mode = path.stat().st_mode & 0o777
    try:
        save_file(dict(tensors), path, metadata={"format": "pt"})
    except SafetensorError as error:
        raise OSError(f"{path} cannot be written: {error}") from error
    path.chmod(mode)


def write_json(path: Path, value: object) -> None:
    """Write a JSON file with indentation."""
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


def fill_with_random(
    model: nn.Module, device: torch.device, dtype: torch.dtype, seed: int = 0
) -> None:
    """Replace the parameters of a model on the device "meta" by random ones, for benchmarks.

    Matrices have values of standard deviation 0.02; norms are 1 and biases 0, as at the start of
    training. Values are drawn once and repeated, because drawing billions takes too long.

    Args:
        model: its parameters are replaced.
        device: device of the new parameters.
        dtype: their element type.
        seed: seed of the values.

    """
    generator = torch.Generator(device).manual_seed(seed)
    count = min(_BLOCK, sum(p.numel() for p in model.parameters()))
    block = torch.empty(count, dtype=dtype, device=device)
    block.normal_(std=0.02, generator=generator)
    for number, (name, parameter) in enumerate(list(model.named_parameters())):
        tensor = torch.empty(parameter.shape, dtype=dtype, device=device)
        if tensor.ndim > 1:
            values, target = block.roll(997 * number), tensor.view(-1)
            for start in range(0, len(target), count):
                piece = target[start : start + count]
                piece.copy_(values[: len(piece)])
        else:
            tensor.fill_(float(name.endswith("weight")))
        owner, _, leaf = name.rpartition(".")
        setattr(model.get_submodule(owner), leaf, nn.Parameter(tensor, requires_grad=False))
