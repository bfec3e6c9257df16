"""A short name for a checkpoint's contents, cheap enough to take at every start."""

import hashlib
from pathlib import Path

_JSON = ("config.json", "processor_config.json", "statistics.json", "embodiment_id.json")
_PLACES, _BYTES = 16, 65536


def checkpoint_digest(directory: Path) -> str:
    """Sha256, hex.

    It covers the JSON files and the shard index whole; of every weight file its name, its size,
    and 64 KiB at 16 evenly spaced places from its start (which holds the tensor headers) to its
    end. A fine-tune changes weights everywhere, so it changes the digest; a single altered weight
    may not.
    """
    digest = hashlib.sha256()
    for path in sorted(directory.glob("*.json")):
        if path.name in _JSON or path.name.endswith(".index.json"):
            digest.update(path.name.encode() + b"\0" + path.read_bytes())
    for path in sorted(directory.glob("*.safetensors")):
        size = path.stat().st_size
        digest.update(f"{path.name}\0{size}\0".encode())
        with path.open("rb") as file:
            for place in range(_PLACES):
                file.seek(max(0, size - _BYTES) * place // (_PLACES - 1))
                digest.update(file.read(_BYTES))
    return digest.hexdigest()
