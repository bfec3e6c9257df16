# SPDX-License-Identifier: Apache-2.0
"""Read and write the weights of a GR00T checkpoint directory, tensor by tensor."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Generic, TypeVar

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
from groot_ros.families.gr00t.network import Gr00tConfig, Gr00tNetwork

NetworkT = TypeVar("NetworkT", bound=Gr00tNetwork)
#: Part of tensors that the network does not have.
_OTHER = "not part of the network"


@dataclass(frozen=True)
class WeightFiles(Generic[NetworkT]):
    """Names of the tensors in a family's checkpoints.

    Attributes:
        network: class of the reference network.
        parts: part of the network -> prefixes of its tensors' names; the first match counts.
        unused: tensors that a checkpoint may have and the network does not read.
        per_embodiment: parameters with one row per embodiment.
        optional: parameters that a checkpoint may lack.
        index: returns all tensors of a directory by the names of the network.

    """

    network: type[NetworkT]
    parts: Mapping[str, tuple[str, ...]]
    unused: re.Pattern[str]
    per_embodiment: re.Pattern[str]
    optional: Sequence[str] = ()
    index: Callable[[Path], dict[str, TensorEntry]] = index_checkpoint

    def load(
        self,
        directory: Path,
        config: Gr00tConfig,
        *,
        embodiment: int | None = None,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
        only: Callable[[str], bool] | None = None,
        progress: Callable[[float], None] | None = None,
    ) -> NetworkT:
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
        entries = self.fitting(directory, config)
        rows = config.head.max_num_embodiments
        if embodiment is not None:
            if not 0 <= embodiment < rows:
                raise CheckpointError(
                    f"{directory / 'config.json'}: 'max_num_embodiments' is {rows}, so embodiment "
                    f"{embodiment} does not exist"
                )
            config = config.with_embodiments(1)
        model = self.network.build(config, device="meta", dtype=dtype)
        load_parameters(
            model,
            entries,
            rows=lambda name: embodiment if self.per_embodiment.fullmatch(name) else None,
            device=device,
            dtype=dtype,
            only=only,
            progress=progress,
        )
        return model.eval()

    def fitting(self, directory: Path, config: Gr00tConfig) -> dict[str, TensorEntry]:
        """Return the entry of every tensor of the model, without reading its values.

        Raises:
            CheckpointError: tensors are missing, unexpected or misshapen, or a file is truncated.

        """
        shapes, entries = _shapes(self.network, config), self.index(directory)  # type: ignore[arg-type]
        return fit_tensors(directory, shapes, entries, unused=self.unused, optional=self.optional)

    def groups(self, directory: Path) -> tuple[WeightGroup, ...]:
        """Return the size of every part of the network that has tensors.

        A tensor with two names counts once, under the first one.
        """
        tensors: dict[str, list[TensorEntry]] = {name: [] for name in self.parts}
        seen = set()
        for name, entry in self.index(directory).items():
            if entry.name in seen:
                continue
            seen.add(entry.name)
            part = next((n for n, p in self.parts.items() if name.startswith(p)), _OTHER)
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

    def write_random(
        self,
        config: Gr00tConfig,
        seed: int,
        directory: Path,
        dtype: torch.dtype | None = None,
        max_shard_bytes: int | None = None,
    ) -> None:
        """Write model.safetensors, or shards, with random weights; see `save_random_parameters`."""
        model = self.network.build(config, device="meta")
        save_random_parameters(model, seed, directory, dtype, max_shard_bytes)


# The staged model is read in three parts, each of which is checked against all shapes.
@lru_cache(maxsize=2)
def _shapes(network: type[Gr00tNetwork], config: Gr00tConfig) -> dict[str, tuple[int, ...]]:
    """Return the shape of every parameter of a network by name."""
    model = network.build(config, device="meta")
    return {name: tuple(parameter.shape) for name, parameter in model.named_parameters()}


def save_model(
    model: Gr00tNetwork,
    directory: Path,
    *,
    max_shard_bytes: int | None = None,
    prefix: str = "",
) -> None:
    """Write config.json, eagle_config.json and model.safetensors, or shards with their index.

    A published checkpoint has no eagle_config.json; with it the directory needs no other config
    of the VLM.

    Args:
        model: the model to save.
        directory: directory to write to; it is created if missing.
        max_shard_bytes: largest size of a shard in bytes; None = one file.
        prefix: prefix of all names.

    """
    directory.mkdir(parents=True, exist_ok=True)
    write_json(directory / "config.json", model.config.to_json())
    write_json(directory / "eagle_config.json", model.config.eagle.to_json())
    tensors = {prefix + n: p.detach().cpu().contiguous() for n, p in model.named_parameters()}
    save_parameters(tensors, directory, max_shard_bytes)
