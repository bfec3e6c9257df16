"""Reads safetensors a tensor (or a row) at a time, so that memory never holds a file twice.

The format: 8 bytes little-endian header length, a JSON header {name: {dtype, shape,
data_offsets}}, then the raw data. No code is ever executed.
"""

import json
import math
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

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


@dataclass(frozen=True)
class TensorEntry:
    """Where one tensor lies."""

    path: Path
    name: str
    dtype: torch.dtype
    shape: tuple[int, ...]
    offset: int

    @property
    def nbytes(self) -> int:
        """Size of the data."""
        return math.prod(self.shape) * self.dtype.itemsize

    def read(self, row: int | None = None) -> torch.Tensor:
        """The tensor, or `[1, ...]` with one row of its first dimension."""
        shape, offset = self.shape, self.offset
        if row is not None:
            if not 0 <= row < shape[0]:
                raise CheckpointError(
                    f"{self.path}: '{self.name}' has {shape[0]} rows, row {row} was asked for"
                )
            shape = (1, *shape[1:])
            offset += row * math.prod(shape) * self.dtype.itemsize
        tensor = torch.empty(shape, dtype=self.dtype)
        if tensor.numel():
            with self.path.open("rb") as file:
                file.seek(offset)
                buffer = memoryview(tensor.view(-1).view(torch.uint8).numpy().data)
                if file.readinto(buffer) != len(buffer):
                    raise CheckpointError(f"{self.path}: is truncated inside '{self.name}'")
        return tensor


def read_header(path: Path) -> dict[str, TensorEntry]:
    """All tensors of one file; raises CheckpointError when it is truncated or malformed."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            prefix = file.read(8)
            length = struct.unpack("<Q", prefix)[0] if len(prefix) == 8 else size
            if length > size - 8:
                raise CheckpointError(
                    f"{path}: is truncated: the header does not fit in {size} bytes"
                )
            header = Fields(json.loads(file.read(length)), str(path))
    except OSError as error:
        raise unreadable(path, error) from error
    except (ValueError, RecursionError) as error:
        if isinstance(error, CheckpointError):
            raise
        raise CheckpointError(f"{path}: is not a safetensors file: {error}") from error
    entries = dict(_entries(header, path, 8 + length, size))
    _require_whole(path, entries.values(), 8 + length, size)
    return entries


def _require_whole(path: Path, entries: Iterable[TensorEntry], begin: int, size: int) -> None:
    """The tensors must fill the file, each byte in one of them: the format says so."""
    before = "the header"
    for entry in sorted(entries, key=lambda entry: (entry.offset, entry.nbytes)):
        if entry.offset < begin:
            raise CheckpointError(f"{path}: '{entry.name}' and {before} share bytes")
        if entry.offset > begin:
            raise CheckpointError(
                f"{path}: {entry.offset - begin} bytes before '{entry.name}' are of no tensor"
            )
        before, begin = f"'{entry.name}'", entry.offset + entry.nbytes
    if begin < size:
        raise CheckpointError(f"{path}: {size - begin} bytes after {before} are of no tensor")


def _entries(header: Fields, path: Path, base: int, size: int) -> Iterator[tuple[str, TensorEntry]]:
    for name in header.value:
        if name == "__metadata__":
            continue
        f = header.section(name)
        kind = f.text("dtype")
        if kind not in _DTYPES:
            raise f.error("dtype", f"is {kind}, which is not supported")
        shape, offsets = f.items("shape", int), f.items("data_offsets", int)
        if len(offsets) != 2 or min((*shape, *offsets)) < 0:
            raise f.error("data_offsets", f"and 'shape' must be sizes: {offsets}, {shape}")
        begin, end = offsets
        entry = TensorEntry(path, name, _DTYPES[kind], shape, base + begin)
        if end - begin != entry.nbytes:
            raise f.error("data_offsets", f"hold {end - begin} bytes, the shape {entry.nbytes}")
        if base + end > size:
            raise CheckpointError(
                f"{path}: is truncated: '{name}' ends at byte {base + end} of {size}"
            )
        yield name, entry


def index_checkpoint(directory: Path) -> dict[str, TensorEntry]:
    """All weights of a checkpoint directory, single file or sharded; numbers of no other kind."""
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
        raise CheckpointError(f"{directory}: has neither {single.name} nor {index.name}")
    weight_map = Fields.read(index).section("weight_map")
    shards = {weight_map.text(name) for name in weight_map.value}
    for shard in sorted(shards):
        if Path(shard).name != shard:
            raise CheckpointError(f"{index}: 'weight_map' names '{shard}', not a file beside it")
        if not (directory / shard).exists():
            raise CheckpointError(f"{index}: 'weight_map' names '{shard}', which is not there")
    headers = {shard: read_header(directory / shard) for shard in sorted(shards)}
    entries = {}
    for name, shard in weight_map.value.items():
        if name not in headers[shard]:
            raise CheckpointError(
                f"{directory / shard}: '{name}' is missing though {index.name} lists it"
            )
        entries[name] = headers[shard][name]
    return entries
