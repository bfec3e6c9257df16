# SPDX-License-Identifier: Apache-2.0
"""Read safetensors files with `safetensors.safe_open`, one tensor (or row) at a time.

A file is opened for each tensor, or part of a large one, and the values are copied. With a longer
mapping, its pages would count as memory in addition to the copies; a tensor that aliases the file
would crash the process if the file were truncated or overwritten.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from groot_ros.checkpoint.mistakes import checkpoint_mistake, require_data
from groot_ros.core.config_reader import CheckpointError, Fields, unreadable

_DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}

#: Larger tensors are read in parts of this size.
_PART_BYTES = 64 * 2**20


@dataclass(frozen=True)
class TensorEntry:
    """One tensor of a file, without its values."""

    path: Path
    name: str
    dtype: torch.dtype
    shape: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        """Return the size of the values in bytes."""
        return math.prod(self.shape) * self.dtype.itemsize

    def read(self, row: int | None = None) -> torch.Tensor:
        """Read the tensor, or `[1, ...]` with one row of its first dimension.

        Raises:
            CheckpointError: there is no such row, or the file cannot be read.

        """
        if row is not None and not 0 <= row < self.shape[0]:
            raise CheckpointError(
                f"{self.path}: '{self.name}' has {self.shape[0]} rows, row {row} was requested"
            )
        if row is not None:
            with _opened(self.path) as file:
                return file.get_slice(self.name)[row : row + 1].clone()
        if self.nbytes <= _PART_BYTES or len(self.shape) == 0:
            with _opened(self.path) as file:
                return file.get_tensor(self.name).clone()
        return self._read_in_parts()

    def _read_in_parts(self) -> torch.Tensor:
        result = torch.empty(self.shape, dtype=self.dtype)
        rows = max(1, _PART_BYTES * self.shape[0] // self.nbytes)
        for begin in range(0, self.shape[0], rows):
            part = slice(begin, begin + rows)
            with _opened(self.path) as file:
                result[part] = file.get_slice(self.name)[part]
        return result


def read_header(path: Path) -> dict[str, TensorEntry]:
    """Return all tensors of one file by name, without their values.

    Raises:
        CheckpointError: the file is truncated, malformed, or holds an unsupported element type.

    """
    with _opened(path) as file:
        return dict(_entries(path, file))


def _entries(path: Path, file: Any) -> Iterator[tuple[str, TensorEntry]]:
    for name in file.keys():  # noqa: SIM118 - not a mapping
        view = file.get_slice(name)
        kind = view.get_dtype()
        if kind not in _DTYPES:
            raise CheckpointError(f"{path}: '{name}' has element type {kind}, which is unsupported")
        yield name, TensorEntry(path, name, _DTYPES[kind], tuple(view.get_shape()))


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """Open a file, and convert the library's exceptions to CheckpointError."""
    try:
        # The library reports a file without read permission as missing.
        require_data(path)
        with safe_open(path, framework="pt") as file:
            yield file
    except OSError as error:
        raise unreadable(path, error) from error
    except SafetensorError as error:
        raise CheckpointError(
            f"{path}: is truncated or not a safetensors file: {error}; download it again"
        ) from error


def index_checkpoint(directory: Path) -> dict[str, TensorEntry]:
    """Return all weights of a checkpoint directory, in one file or in shards.

    Raises:
        CheckpointError: files or tensors are missing, or a tensor is not floating point.

    """
    entries = _found(directory)
    for entry in entries.values():
        if not entry.dtype.is_floating_point:
            kind = str(entry.dtype).removeprefix("torch.")
            raise CheckpointError(
                f"{entry.path}: '{entry.name}' is {kind}; weights must be floating point, "
                "such as float32 or bfloat16 (quantised ones are not read)"
            )
    return entries


def _found(directory: Path) -> dict[str, TensorEntry]:
    single = directory / "model.safetensors"
    index = directory / "model.safetensors.index.json"
    if single.exists():
        return read_header(single)
    if not index.exists():
        mistake = checkpoint_mistake(directory)
        raise CheckpointError(
            f"{directory}: {mistake or f'has neither {single.name} nor {index.name}'}"
        )
    weight_map = Fields.read(index).section("weight_map")
    shards = {weight_map.text(name) for name in weight_map.value}
    for shard in sorted(shards):
        if Path(shard).name != shard:
            raise CheckpointError(
                f"{index}: 'weight_map' names '{shard}', which must be a file in the same directory"
            )
        if not (directory / shard).exists():
            raise CheckpointError(f"{index}: 'weight_map' names '{shard}', which does not exist")
    headers = {shard: read_header(directory / shard) for shard in sorted(shards)}
    entries = {}
    for name, shard in weight_map.value.items():
        if name not in headers[shard]:
            raise CheckpointError(
                f"{directory / shard}: '{name}' is missing though {index.name} lists it"
            )
        entries[name] = headers[shard][name]
    return entries
