"""Short names for the contents of large files, cheap enough to take at every start."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

_JSON = ("config.json", "processor_config.json", "statistics.json", "embodiment_id.json")
_PLACES, _BYTES = 16, 65536


def checkpoint_digest(directory: Path, assets: Mapping[str, Path]) -> str:
    """Sha256, hex, of everything that decides what a policy does.

    It covers the JSON files, the shard index and `assets` whole, and of every weight file what
    `file_sample` takes. A fine-tune changes weights everywhere, so it changes the digest; a single
    altered weight may not.

    Args:
        directory: of the checkpoint.
        assets: name -> file of the VLM's config and tokenizer, wherever they lie.

    """
    digest = hashlib.sha256()
    for path in sorted(directory.glob("*.json")):
        if path.name in _JSON or path.name.endswith(".index.json"):
            digest.update(path.name.encode() + b"\0" + path.read_bytes())
    for name, path in sorted(assets.items()):
        digest.update(f"assets/{name}\0".encode() + path.read_bytes())
    for path in sorted(directory.glob("*.safetensors")):
        digest.update(file_sample(path))
    return digest.hexdigest()


def file_sample(path: Path) -> bytes:
    """Name, size, and a file of up to 1 MiB whole; of a larger one 64 KiB at 16 even places.

    The first place is its beginning (which holds a safetensors file's headers), the last its end.
    """
    size = path.stat().st_size
    parts = [f"{path.name}\0{size}\0".encode()]
    with path.open("rb") as file:
        if size <= _PLACES * _BYTES:
            return parts[0] + file.read()
        for place in range(_PLACES):
            file.seek((size - _BYTES) * place // (_PLACES - 1))
            parts.append(file.read(_BYTES))
    return b"".join(parts)
