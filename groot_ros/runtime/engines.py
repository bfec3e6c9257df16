"""Which engines there are, and how each is made from a checkpoint."""

import importlib.util
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

import torch

from groot_ros.models.gr00t_n1d6 import Gr00tN1d6Config, load_model
from groot_ros.runtime.engine import Engine
from groot_ros.runtime.gr00t_n1d6 import load_fast
from groot_ros.runtime.manifest import EngineFilesError, Manifest
from groot_ros.runtime.onnxruntime_engine import load_onnxruntime
from groot_ros.runtime.plain_engine import PlainEngine
from groot_ros.runtime.torch_engine import TorchEngine

#: "torch" is the exact fast form, "plain" the model as written: the measure of all others.
ENGINES = ("torch", "plain", "onnxruntime")
#: Those that run exported files.
FROM_FILES = ("onnxruntime",)


@dataclass(frozen=True)
class EngineFiles:
    """An engine directory that belongs to the checkpoint at hand."""

    directory: Path
    manifest: Manifest


def build_engine(
    name: str,
    directory: Path,
    config: Gr00tN1d6Config,
    *,
    embodiment: int,
    device: torch.device,
    dtype: torch.dtype,
    step_counts: Collection[int] = (),
    progress: Callable[[float], None] | None = None,
    files: EngineFiles | None = None,
) -> Engine:
    """An engine with the weights of a checkpoint, for one embodiment.

    Args:
        name: one of `ENGINES`.
        directory: of the checkpoint.
        config: from `load_config`.
        embodiment: row of the category-specific weights.
        device: where the engine runs.
        dtype: of the weights; exported files have their own.
        step_counts: numbers of denoising steps to be ready for; others work, the first run with
            one takes longer.
        progress: called with the fraction of the bytes read so far.
        files: of those engines that need them.

    Raises:
        CheckpointError: the weights do not fit; see `load_model`.
        EngineFilesError: the engine's files do not fit, or are missing.
        ValueError: there is no such engine.

    """
    if name == "plain":
        return PlainEngine(
            load_model(
                directory,
                config,
                embodiment=embodiment,
                device=device,
                dtype=dtype,
                progress=progress,
            )
        )
    if name == "torch":
        return TorchEngine(
            load_fast(
                directory,
                config,
                embodiment=embodiment,
                device=device,
                dtype=dtype,
                step_counts=step_counts,
                progress=progress,
            )
        )
    if name in FROM_FILES:
        reason = obstacle(name, device, files)
        if reason or files is None:
            raise EngineFilesError(f"engine '{name}': {reason}")
        return load_onnxruntime(
            files.directory,
            files.manifest,
            directory,
            config,
            embodiment=embodiment,
            device=device,
            step_counts=step_counts,
            progress=progress,
        )
    raise ValueError(f"engine must be one of {', '.join(ENGINES)}, not '{name}'")


def obstacle(name: str, device: torch.device, files: EngineFiles | None) -> str:
    """Why an engine cannot run here, in one line; empty if nothing is known against it."""
    if name not in ENGINES:
        return "not part of this version"
    if name in FROM_FILES and files is None:
        return "engine_directory is not set; make engine files with: groot-ros engine make"
    if name == "onnxruntime" and importlib.util.find_spec("onnxruntime") is None:
        return "onnxruntime is not installed: pip install onnxruntime"
    return ""
