"""Which engines there are, and how each is made from a checkpoint."""

import importlib.util
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from groot_ros.models.gr00t_n1d6 import Gr00tN1d6Config, load_model
from groot_ros.runtime.commands import make_command
from groot_ros.runtime.cuda_graph import CudaGraphEngine
from groot_ros.runtime.engine import Engine
from groot_ros.runtime.errors import EngineFilesError
from groot_ros.runtime.gr00t_n1d6 import StagedModel, load_fast
from groot_ros.runtime.manifest import Manifest
from groot_ros.runtime.names import ENGINES, FROM_FILES, STAGES
from groot_ros.runtime.onnxruntime_engine import load_onnxruntime
from groot_ros.runtime.plain_engine import ReferenceEngine
from groot_ros.runtime.precision import DTYPES
from groot_ros.runtime.tensorrt import unavailable
from groot_ros.runtime.tensorrt.machine import this_machine
from groot_ros.runtime.tensorrt.presence import installed_version
from groot_ros.runtime.torch_engine import TorchEngine


@dataclass(frozen=True)
class EngineFiles:
    """An engine directory that belongs to the checkpoint at hand."""

    directory: Path
    manifest: Manifest


def load_engine(
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
        return ReferenceEngine(
            load_model(
                directory,
                config,
                embodiment=embodiment,
                device=device,
                dtype=dtype,
                progress=progress,
            )
        )
    if name not in ENGINES:
        raise ValueError(f"engine must be one of {', '.join(ENGINES)}, not '{name}'")
    reason = obstacle(name, device, files)
    if reason:
        raise EngineFilesError(f"engine '{name}': {reason}")
    read = partial(
        load_fast,
        directory,
        config,
        embodiment=embodiment,
        device=device,
        step_counts=step_counts,
        progress=progress,
    )
    if name == "torch":
        return TorchEngine(read(dtype=dtype))
    if name == "cuda_graph":
        return CudaGraphEngine(read(dtype=dtype))
    assert files is not None
    manifest = files.manifest
    missing = [stage for stage in STAGES if stage not in manifest.stages]
    rest = partial(read, dtype=DTYPES[manifest.precision], stages=missing)
    if name == "onnxruntime":
        return load_onnxruntime(files.directory, manifest, config, device, rest)
    return _tensorrt(files, device, rest)


def _tensorrt(files: EngineFiles, device: torch.device, rest: Callable[[], StagedModel]) -> Engine:
    # Importable only where TensorRT is; `obstacle` asked for that.
    from groot_ros.runtime.tensorrt.engine import TensorRtEngine

    manifest = files.manifest
    manifest.require_plans(files.directory, this_machine(installed_version(), device))
    plans = {
        stage: files.directory / own.plan.file
        for stage, own in manifest.stages.items()
        if own.plan is not None
    }
    return TensorRtEngine(plans, rest())


def obstacle(name: str, device: torch.device, files: EngineFiles | None) -> str:
    """Why an engine cannot run here, in one line; empty if nothing is known against it."""
    if name in ("cuda_graph", "tensorrt") and device.type != "cuda":
        return f"needs a CUDA device, the model is on {device}"
    if name in FROM_FILES and files is None:
        return f"engine_directory is not set; make engine files with: {make_command()}"
    if name == "onnxruntime" and importlib.util.find_spec("onnxruntime") is None:
        return "onnxruntime is not installed: pip install onnxruntime"
    if name in FROM_FILES and files is not None and not files.manifest.stages:
        again = files.manifest.export_command(files.directory)
        return f"{files.directory}: no stage is exported; export them with: {again}"
    precision = "" if files is None else files.manifest.precision
    if name == "onnxruntime" and device.type == "cpu" and precision == "bfloat16":
        return "onnxruntime does not execute bfloat16 on a CPU; float32 and float16 it does"
    if name == "tensorrt":
        return unavailable() or ""
    return ""
