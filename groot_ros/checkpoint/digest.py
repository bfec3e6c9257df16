# SPDX-License-Identifier: Apache-2.0
"""Digests of large files that are cheap enough to compute at every start."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

from groot_ros.checkpoint.locate import processor_directory
from groot_ros.checkpoint.mistakes import require_regular

_JSON = ("config.json", "processor_config.json", "statistics.json", "embodiment_id.json")
#: Samples of a large file, and the size of each in bytes.
_PLACES, _BYTES = 16, 65536


def checkpoint_digest(directory: Path, assets: Mapping[str, Path]) -> str:
    """Return a SHA-256 digest (hex) of the files that determine what a policy does.

    It covers the whole JSON files, shard index and `assets`, and a sample of every weight file
    (see `file_sample`). Fine-tuning changes weights everywhere, so it changes the digest; a single
    altered weight may not.

    Args:
        directory: directory of the checkpoint.
        assets: name -> path of the VLM's config and tokenizer files; the paths do not affect the
            digest.

    """
    digest = hashlib.sha256()
    files = {path.name: path for path in processor_directory(directory).glob("*.json")}
    files |= {path.name: path for path in directory.glob("*.json")}
    for _, path in sorted(files.items()):
        if path.name in _JSON or path.name.endswith(".index.json"):
            digest.update(path.name.encode() + b"\0" + path.read_bytes())
    for name, path in sorted(assets.items()):
        digest.update(f"assets/{name}\0".encode() + path.read_bytes())
    for path in sorted(directory.glob("*.safetensors")):
        digest.update(file_sample(path))
    return digest.hexdigest()


def file_sample(path: Path) -> bytes:
    """Return a file's name, size and contents; of a file above 1 MiB only 16 samples of 64 KiB.

    The samples are evenly spaced. The first is the beginning, where a safetensors file has its
    header; the last is the end.
    """
    require_regular(path)
    size = path.stat().st_size
    parts = [f"{path.name}\0{size}\0".encode()]
    with path.open("rb") as file:
        if size <= _PLACES * _BYTES:
            return parts[0] + file.read()
        for place in range(_PLACES):
            file.seek((size - _BYTES) * place // (_PLACES - 1))
            parts.append(file.read(_BYTES))
    return b"".join(parts)
