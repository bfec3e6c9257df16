# SPDX-License-Identifier: Apache-2.0
"""Find checkpoints and the VLM's files on this machine; nothing is ever downloaded."""

import difflib
import os
import re
from dataclasses import dataclass
from pathlib import Path

from groot_ros.checkpoint.mistakes import require_data
from groot_ros.core.config_reader import CheckpointError, unreadable

#: Tokenizer files: a tokenizer has either the first three or the last one.
TOKENIZER_FILES = ("vocab.json", "merges.txt", "added_tokens.json", "tokenizer.json")
PROCESSOR_CONFIG = "processor_config.json"
#: Files of a checkpoint that are read in addition to its weights.
_READ = (
    "config.json",
    PROCESSOR_CONFIG,
    "statistics.json",
    "embodiment_id.json",
    "eagle_config.json",
    *TOKENIZER_FILES,
)


@dataclass(frozen=True)
class BackboneAssets:
    """Config and tokenizer of the VLM, which a published checkpoint does not contain.

    Attributes:
        config: path of the VLM's config.json or eagle_config.json.
        tokenizer: directory of the tokenizer files.

    """

    config: Path
    tokenizer: Path

    @property
    def files(self) -> dict[str, Path]:
        """Return the files to read, by names that do not depend on their location."""
        return {"config": self.config, **{p.name: p for p in tokenizer_files(self.tokenizer)}}


def processor_directory(checkpoint: Path) -> Path:
    """Return the directory of processor_config.json: the checkpoint, or processor/ inside of it.

    Isaac-GR00T's training writes the processor next to the weights or into that folder.
    """
    inner = checkpoint / "processor"
    separate = (inner / PROCESSOR_CONFIG).exists() and not (checkpoint / PROCESSOR_CONFIG).exists()
    return inner if separate else checkpoint


def has_tokenizer(directory: Path) -> bool:
    """Tell whether a directory has vocab.json and merges.txt, or tokenizer.json."""
    pair = (directory / "vocab.json").exists() and (directory / "merges.txt").exists()
    return pair or (directory / "tokenizer.json").exists()


def tokenizer_files(directory: Path) -> list[Path]:
    """Return the files that `TextTokenizer.load` reads."""
    if (directory / "tokenizer.json").exists():
        return [directory / "tokenizer.json"]
    return [directory / name for name in TOKENIZER_FILES[:3] if (directory / name).exists()]


def hub_cache() -> Path:
    """Return the directory where the Hugging Face hub stores downloads on this machine."""
    for variable in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        if os.environ.get(variable):
            return Path(os.environ[variable])
    if os.environ.get("HF_HOME"):
        return Path(os.environ["HF_HOME"]) / "hub"
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "huggingface" / "hub"


def is_hub_id(name: str | Path) -> bool:
    """Tell whether a name has the form owner/name."""
    return re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*", str(name)) is not None


def resolve(name: str | Path) -> Path | None:
    """Return the directory of a checkpoint, or None if it does not exist.

    Args:
        name: a directory, or a hub id such as "nvidia/GR00T-N1.6-3B". For a hub id the snapshot
            of `refs/main` is returned, or the newest one if there is none.

    """
    path = Path(name).expanduser()
    if path.is_dir():
        return path
    if not is_hub_id(name):
        return None
    repository = hub_cache() / f"models--{str(name).replace('/', '--')}"
    main = repository / "refs" / "main"
    if main.exists():
        snapshot = repository / "snapshots" / main.read_text(encoding="utf-8").strip()
        if snapshot.is_dir():
            return snapshot
    snapshots = sorted(repository.glob("snapshots/*"), key=lambda p: p.stat().st_mtime)
    return snapshots[-1] if snapshots else None


def find_checkpoint(name: str | Path) -> Path:
    """Return the path of a checkpoint: a directory, a file, or a downloaded hub id.

    Raises:
        CheckpointError: it does not exist (the message names the download command), or a file
            cannot be read.

    """
    path = Path(name).expanduser()
    try:
        if path.is_file():
            with path.open("rb"):
                return path
        directory = resolve(name)
        if directory is not None:
            for part in {directory, processor_directory(directory)}:
                _require_readable(part)
            return directory
    except OSError as error:
        raise unreadable(Path(error.filename or name), error) from error
    similar = _similar(path)
    if similar or not is_hub_id(name):
        raise CheckpointError(f"checkpoint {name}: no such directory{similar}")
    raise CheckpointError(
        f"checkpoint {name}: is neither a directory nor a hub id in {hub_cache()}; "
        f"download it first: hf download {name}"
    )


def _similar(path: Path) -> str:
    """Return a question with the directory that was probably meant, or an empty string."""
    try:
        names = [p.name for p in path.parent.iterdir() if p.is_dir()]
    except OSError:
        return ""
    # A step number that was mistyped or never written: the name must be almost the same.
    close = difflib.get_close_matches(path.name, names, n=1, cutoff=0.8)
    return f": did you mean {path.parent / close[0]}?" if close else ""


def _require_readable(directory: Path) -> None:
    """Raise OSError naming a file that may not be opened, CheckpointError a Git LFS pointer."""
    for name in sorted(os.listdir(directory)):
        if name in _READ or name.endswith((".safetensors", ".safetensors.index.json")):
            require_data(directory / name)


def find_backbone_assets(
    checkpoint: Path, backbone_assets: str | Path | None, model_name: str
) -> BackboneAssets:
    """Return the VLM's config and tokenizer: in the checkpoint, else in `backbone_assets`.

    Args:
        checkpoint: directory of the checkpoint.
        backbone_assets: directory or hub id; None tries the hub id `model_name`.
        model_name: the VLM's hub id, from the checkpoint's config.json.

    Raises:
        CheckpointError: a file is missing; the message says which one and where to get it.

    """
    requested = backbone_assets if backbone_assets is not None else model_name
    other = resolve(requested)
    if other is None and backbone_assets is not None and not is_hub_id(backbone_assets):
        # An error even if the checkpoint contains the files, as the user named this directory.
        raise CheckpointError(f"backbone_assets {backbone_assets}: no such directory")
    if other is not None:
        try:
            _require_readable(other)
        except OSError as error:
            raise unreadable(Path(error.filename or other), error) from error
    configs = [checkpoint / "eagle_config.json"]
    tokenizers = [checkpoint]
    if other is not None:
        configs += [other / "eagle_config.json", other / "config.json"]
        tokenizers.append(other)
    config = next((path for path in configs if path.exists()), None)
    tokenizer = next((path for path in tokenizers if has_tokenizer(path)), None)
    missing = []
    if config is None:
        missing.append("the VLM's config (eagle_config.json, or its own config.json)")
    if tokenizer is None:
        missing.append("its tokenizer (vocab.json, merges.txt, added_tokens.json)")
    if config is None or tokenizer is None:
        searched = f"{checkpoint} and {other if other is not None else requested}"
        raise CheckpointError(
            f"{' and '.join(missing)} not found in {searched}: a GR00T checkpoint does not contain "
            "them; take config.json, vocab.json, merges.txt and added_tokens.json from the folder "
            f"gr00t/model/modules/{model_name} of the Isaac-GR00T sources (or from the hub id "
            f"{model_name}, if you may read it) and give their directory as backbone_assets"
        )
    return BackboneAssets(config, tokenizer)
