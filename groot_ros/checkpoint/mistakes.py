# SPDX-License-Identifier: Apache-2.0
"""Recognise what was given instead of a checkpoint, and say what to give or do.

It reads names of files and small JSON or YAML files, never weights. It is asked only after no model
family has recognised the path, or after weights are missing, so it cannot reject a checkpoint.
"""

import contextlib
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from groot_ros.core.config_reader import CheckpointError, ConfigError, Fields, is_lfs_pointer

_SAVE = "save the model with safe_serialization=True"
#: Suffix of a file -> what it is, and what to do.
_FILES = {
    ".json": "is a file of a checkpoint; give its directory",
    ".safetensors": "is a file of a checkpoint; give its directory",
    ".onnx": "is a file of an engine: give its directory as engine_directory, and the checkpoint "
    "that it was exported from",
    ".gguf": "is a GGUF file, which is not read: give the checkpoint that it was made from",
    ".parquet": "is a file of a data set: give the directory that the training wrote",
    ".mp4": "is a file of a data set: give the directory that the training wrote",
    ".mcap": "is a bag: give the directory that the training wrote",
    ".urdf": "is a robot description: give it in the robot contract under 'urdf'",
    ".npz": "is an observation or reference file: give the directory of a checkpoint",
    **dict.fromkeys(
        (".plan", ".engine", ".trt"),
        "is a TensorRT engine: give its directory as engine_directory, and the checkpoint that it "
        "was built from",
    ),
    **dict.fromkeys(
        (".bin", ".pt", ".pth", ".ckpt", ".pkl"),
        f"is a PyTorch pickle; only safetensors are read: {_SAVE} and give its directory",
    ),
    **dict.fromkeys(
        (".zip", ".tar", ".gz", ".tgz", ".xz", ".zst"), "is an archive: unpack it first"
    ),
}
#: Largest number of entries of a directory that are looked at, and of folders at one depth.
_MOST, _MOST_FOLDERS = 10_000, 200
#: Depth to which checkpoints are looked for: RUN/checkpoints/010000/pretrained_model.
_DEPTH = 4


def checkpoint_mistake(path: Path) -> str:
    """Return what a path is instead of a usable checkpoint, with the remedy; "" if unknown.

    The phrase continues a sentence that begins with the path.
    """
    try:
        if path.is_dir():
            entries = sorted(_entries(path))
            return next((found for test in _TESTS if (found := test(path, entries))), "")
        return _file_mistake(path) if path.is_file() else ""
    except OSError:
        # A directory that cannot be listed is reported where it is read.
        return ""


def require_data(path: Path) -> None:
    """Raise CheckpointError for a Git LFS pointer or a device, OSError for an unreadable file.

    The end of a device may never come.
    """
    require_regular(path)
    with path.open("rb") as file:
        if is_lfs_pointer(file.read(64)):
            raise CheckpointError(
                f"{path}: is a Git LFS pointer, not the file itself: run git lfs pull in "
                f"{path.parent}"
            )


def require_regular(path: Path) -> None:
    """Raise CheckpointError for a device, FIFO or socket; a directory cannot be read anyway."""
    if path.exists() and not path.is_file() and not path.is_dir():
        raise CheckpointError(f"{path}: is not a regular file: replace it with the checkpoint's")


def _entries(directory: Path) -> Iterator[str]:
    for count, name in enumerate(os.listdir(directory)):
        if count < _MOST:
            yield name


def _newest(directory: Path) -> tuple[Path | None, int]:
    """Return the newest checkpoint in a directory, and how many there are.

    The newest one has the largest number in its path, such as 10000 in checkpoint-10000 or in
    checkpoints/010000/pretrained_model. One without config.json counts only if no other is there:
    the training may have been ended while it was written.
    """
    complete: list[Path] = []
    started: list[Path] = []
    level = [directory]
    for _ in range(_DEPTH):
        inner = [p for d in level for p in sorted(d.iterdir()) if p.is_dir()][:_MOST_FOLDERS]
        complete += [p for p in inner if (p / "config.json").is_file()]
        started += [p for p in inner if re.fullmatch(r"checkpoint-\d+", p.name)]
        level = [p for p in inner if p not in complete and not p.name.startswith(".")]
    found = complete or started

    def number(path: Path) -> int:
        numbers = re.findall(r"\d+", str(path.relative_to(directory)))
        return int(numbers[-1]) if numbers else -1

    return max(found, key=number, default=None), len(found)


def _file_mistake(path: Path) -> str:
    if path.suffix in (".yaml", ".yml"):
        try:
            fields = Fields.read(path)
        except ConfigError:
            return "is a YAML file: give the directory of a checkpoint"
        if fields.has("joints") or fields.has("controllers"):
            return "is a robot contract: give it as robot, and the directory of a checkpoint here"
        return "is a YAML file: give the directory of a checkpoint"
    return _FILES.get(path.suffix, "")


def _empty(path: Path, entries: list[str]) -> str:
    return "" if entries else "is an empty directory: was the download or the training ended early?"


def _adapter(path: Path, entries: list[str]) -> str:
    if not any(name.startswith(("adapter_config.", "adapter_model.")) for name in entries):
        return ""
    base = "its base model"
    with contextlib.suppress(ConfigError):  # then the name of the base model is not known
        base = Fields.read(path / "adapter_config.json").name("base_model_name_or_path", base)
    return (
        f"is a LoRA adapter: merge it into {base} first (merge_and_unload of peft), save the whole "
        "model and give its directory"
    )


def _deepspeed(path: Path, entries: list[str]) -> str:
    shards = [
        name
        for name in entries
        if name == "zero_to_fp32.py"
        or re.fullmatch(r"global_step\d+|(mp|zero_pp)_rank_\d+.*", name)
        or name.endswith("_optim_states.pt")
    ]
    if not shards or _has_weights(entries):
        return ""
    script = path if "zero_to_fp32.py" in entries else path.parent
    return (
        f"has DeepSpeed shards ({shards[0]}) instead of weights: join them with python "
        f"{script}/zero_to_fp32.py {script} {script} --safe_serialization, or train with "
        "stage3_gather_16bit_weights_on_model_save"
    )


def _fsdp(path: Path, entries: list[str]) -> str:
    if any(name.endswith(".distcp") or name.startswith("pytorch_model_fsdp") for name in entries):
        return f"has FSDP shards instead of weights: join them with accelerate merge-weights {path}"
    return ""


def _hub_directory(path: Path, entries: list[str]) -> str:
    """Recognise a directory of the hub cache: the cache, models--org--name or its snapshots."""
    models = [name for name in entries if name.startswith("models--")]
    if models:
        named = models[0].removeprefix("models--").replace("--", "/")
        return f"is the cache of the Hugging Face hub: give a hub id, such as {named}"
    if path.name.startswith("models--"):
        hub_id = path.name.removeprefix("models--").replace("--", "/")
        snapshots = path / "snapshots"
        found = sorted(snapshots.iterdir()) if snapshots.is_dir() else []
        if not found:
            return f"is a download without files: download it again: hf download {hub_id}"
        main = path / "refs" / "main"
        named = main.read_text(encoding="utf-8").strip() if main.is_file() else ""
        snapshot = next((p for p in found if p.name == named), found[-1])
        return f"is a directory of the hub cache: give the hub id {hub_id}, or {snapshot}"
    return ""


def _training_output(path: Path, entries: list[str]) -> str:
    """Recognise a directory around one checkpoint or several."""
    if "train.json" in entries and "base" in entries:
        # Of `groot-ros train`, whose directory `base` is what the training began with.
        results = (path / name for name in ("best", "last"))
        found = next((p for p in results if (p / "config.json").is_file()), None)
        hint = f"did you mean {found}?" if found else "it has not saved a checkpoint yet"
        return f"is the output directory of a training: {hint}"
    newest, count = _newest(path)
    if newest is None or ("config.json" in entries and _has_weights(entries)):
        return ""
    if count == 1 and not re.search(r"\d", str(newest.relative_to(path))):
        return f"has no config.json: did you mean {newest}?"
    return f"is the output directory of a training: did you mean {newest}?"


def _engine(path: Path, entries: list[str]) -> str:
    kinds = (".onnx", ".plan", ".engine")
    if "manifest.json" in entries or any(name.endswith(kinds) for name in entries):
        return (
            "is a directory of engine files: give it as engine_directory, and the checkpoint that "
            "they were exported from here"
        )
    return ""


def _data_set(path: Path, entries: list[str]) -> str:
    if (path / "meta" / "info.json").exists() or (
        path.name == "meta" and "info.json" in entries and "tasks.jsonl" in entries
    ):
        return "is a data set, not a checkpoint: give the directory that the training wrote"
    if "metadata.yaml" in entries and any(n.endswith((".mcap", ".db3")) for n in entries):
        return "is a bag, not a checkpoint: give the directory that the training wrote"
    return ""


def _part(path: Path, entries: list[str]) -> str:
    """Recognise a directory inside a checkpoint."""
    if "config.json" in entries or not (path.parent / "config.json").exists():
        return ""
    if _has_weights(entries) or not _has_weights(sorted(_entries(path.parent))):
        return ""
    return f"is a directory inside of a checkpoint: did you mean {path.parent}?"


def _pickles(path: Path, entries: list[str]) -> str:
    state = ("optimizer", "scheduler", "rng_state", "scaler", "training_args", "random_states")
    own = [name for name in entries if name.endswith((".bin", ".pt", ".pth", ".ckpt", ".pkl"))]
    if not own or _has_weights(entries):
        return ""
    weights = [name for name in own if not name.startswith(state)]
    if weights:
        return (
            f"has its weights in PyTorch pickles ({weights[0]}); only safetensors are read: {_SAVE}"
        )
    return (
        f"has the state of an optimizer ({own[0]}) but no weights: copy model*.safetensors of the "
        "same training here, or give a directory that has them"
    )


def _incomplete(path: Path, entries: list[str]) -> str:
    if any(name.endswith((".incomplete", ".part", ".tmp")) for name in entries):
        return "is an incomplete download: download it again"
    if "config.json" not in entries and _has_weights(entries):
        return "has weights but no config.json: copy the one of the same training here"
    return ""


def _has_weights(entries: list[str]) -> bool:
    return any(
        name.endswith(".safetensors") and not name.startswith("adapter_") for name in entries
    )


#: In order: the first that recognises a directory decides.
_TESTS: tuple[Callable[[Path, list[str]], str], ...] = (
    _empty,
    _hub_directory,
    _adapter,
    _data_set,
    _engine,
    _training_output,
    _deepspeed,
    _fsdp,
    _part,
    _pickles,
    _incomplete,
)
