"""Loads a checkpoint directory tensor by tensor into the model."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from groot_ros.core.config_reader import CheckpointError
from groot_ros.models.gr00t_n1d6.config import EagleConfig, Gr00tN1d6Config
from groot_ros.models.gr00t_n1d6.model import Gr00tN1d6, build_model
from groot_ros.models.safetensors_file import TensorEntry, index_checkpoint

#: In real checkpoints, never used: the vocabulary head and Siglip2's pooling head.
_UNUSED = re.compile(
    r"backbone\.model\.(language_model\.lm_head\.weight"
    r"|vision_model\.vision_model\.head\..*)"
)
#: There when the checkpoint was trained with state dropout; only training needs it.
_MASK_TOKEN = "action_head.mask_token"
_PER_EMBODIMENT = re.compile(
    r"action_head\.(state_encoder|action_encoder|action_decoder)\..*\.[Wb]"
)
_SHOWN = 5


def load_config(directory: Path, eagle_config: Path) -> Gr00tN1d6Config:
    """config.json of the checkpoint together with the VLM's own config file."""
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
    """The model in eval mode.

    Args:
        directory: with model.safetensors, or shards and their index.
        config: from `load_config`.
        embodiment: keep only this row of the category-specific weights; the model then takes
            embodiment 0. None keeps all, for training.
        device: where the weights go.
        dtype: of the weights.
        only: says of a parameter's name whether it is wanted; the others stay on "meta".
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
                f"{config.max_num_embodiments}, embodiment {embodiment} does not exist"
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
    """Every tensor of the model that config.json describes, found before any weight is read.

    Only the mask token may be absent. Raises CheckpointError when tensors are missing, unexpected
    or misshapen, or a file is truncated.
    """
    entries = index_checkpoint(directory)
    model = build_model(config, device="meta")
    wanted = {name: tuple(parameter.shape) for name, parameter in model.named_parameters()}
    _require_same_keys(directory, wanted.keys() - {_MASK_TOKEN}, entries)
    found = {name: entries[name] for name in wanted if name in entries}
    for name, entry in found.items():
        if entry.shape != wanted[name]:
            raise CheckpointError(
                f"{entry.path}: '{name}' has shape {list(entry.shape)}, "
                f"config.json asks for {list(wanted[name])}"
            )
    return found


def _require_same_keys(directory: Path, wanted: set[str], entries: dict[str, TensorEntry]) -> None:
    unused = {name for name in entries if _UNUSED.fullmatch(name) or name == _MASK_TOKEN}
    missing = sorted(wanted - entries.keys())
    unexpected = sorted(entries.keys() - wanted - unused)
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
    # Unlike isfinite, this takes no memory beside the tensor; NaN passes through it.
    if tensor.numel() and not all(torch.isfinite(v) for v in torch.aminmax(tensor)):
        raise CheckpointError(f"{entry.path}: '{entry.name}' holds values that are not finite")
    return tensor


def _assign(model: nn.Module, name: str, tensor: torch.Tensor) -> None:
    owner, _, leaf = name.rpartition(".")
    module = model.get_submodule(owner)
    setattr(module, leaf, nn.Parameter(tensor, requires_grad=False))
