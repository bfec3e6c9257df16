"""Loads a checkpoint directory tensor by tensor into the model."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from groot_ros.models.gr00t_n1d6.config import EagleConfig, Gr00tN1d6Config
from groot_ros.models.gr00t_n1d6.model import Gr00tN1d6, build_model
from groot_ros.models.safetensors_file import TensorEntry, index_checkpoint
from groot_ros.types.fields import CheckpointError

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
        progress: called with the fraction of the bytes read so far.

    Raises:
        CheckpointError: tensors are missing, unexpected, misshapen or not finite.

    """
    entries = index_checkpoint(directory)
    kept = config
    if embodiment is not None:
        if not 0 <= embodiment < config.max_num_embodiments:
            raise CheckpointError(
                f"{directory / 'config.json'}: 'max_num_embodiments' is "
                f"{config.max_num_embodiments}, embodiment {embodiment} does not exist"
            )
        kept = replace(config, max_num_embodiments=1)
    model = build_model(kept, device="meta", dtype=dtype)
    wanted = dict(model.named_parameters())
    optional = {_MASK_TOKEN} - entries.keys()
    _require_same_keys(directory, wanted.keys() - optional, entries)

    total, done = sum(entries[name].nbytes for name in wanted.keys() - optional), 0
    for name, parameter in wanted.items():
        if name in optional:
            tensor = 0.02 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(0))
        else:
            row = embodiment if _PER_EMBODIMENT.fullmatch(name) else None
            tensor = _read(entries[name], tuple(parameter.shape), row, config.max_num_embodiments)
            done += entries[name].nbytes
        _assign(model, name, tensor.to(device=device, dtype=dtype))
        if progress is not None and total:
            progress(done / total)
    return model.eval()


def _require_same_keys(directory: Path, wanted: set[str], entries: dict[str, TensorEntry]) -> None:
    missing = sorted(wanted - entries.keys())
    unexpected = sorted(
        name
        for name in entries.keys() - wanted
        if not _UNUSED.fullmatch(name) and name != _MASK_TOKEN
    )
    problems = [
        f"{len(names)} {what}: {', '.join(names[:_SHOWN])}"
        + (" ..." if len(names) > _SHOWN else "")
        for what, names in (("missing", missing), ("unexpected", unexpected))
        if names
    ]
    if problems:
        raise CheckpointError(f"{directory}: tensors do not fit config.json: {'; '.join(problems)}")


def _read(
    entry: TensorEntry, shape: tuple[int, ...], row: int | None, categories: int
) -> torch.Tensor:
    expected = shape if row is None else (categories, *shape[1:])
    if entry.shape != expected:
        raise CheckpointError(
            f"{entry.path}: '{entry.name}' has shape {list(entry.shape)}, "
            f"config.json asks for {list(expected)}"
        )
    tensor = entry.read(row)
    # Unlike isfinite, this takes no memory beside the tensor; NaN passes through it.
    if tensor.numel() and not all(torch.isfinite(v) for v in torch.aminmax(tensor)):
        raise CheckpointError(f"{entry.path}: '{entry.name}' holds values that are not finite")
    return tensor


def _assign(model: nn.Module, name: str, tensor: torch.Tensor) -> None:
    owner, _, leaf = name.rpartition(".")
    module = model.get_submodule(owner)
    setattr(module, leaf, nn.Parameter(tensor, requires_grad=False))
