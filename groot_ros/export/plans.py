"""TensorRT engines for every stage of an engine directory."""

from pathlib import Path

import torch

from groot_ros.export.pipeline import Progress
from groot_ros.models.gr00t_n1d6 import Gr00tN1d6Config
from groot_ros.runtime.contract import stage_specs
from groot_ros.runtime.errors import EngineFilesError
from groot_ros.runtime.manifest import Manifest, Plan, file_digest
from groot_ros.runtime.measured import MEASURED, today
from groot_ros.runtime.precision import DTYPES
from groot_ros.runtime.tensorrt import unavailable

_GIB = 2**30
_TIMING_CACHE = "timing.cache"


def build_plans(
    directory: Path,
    manifest: Manifest,
    config: Gr00tN1d6Config,
    *,
    device: torch.device,
    workspace_gib: float | None = None,
    optimisation_level: int = 3,
    progress: Progress,
) -> Manifest:
    """Build STAGE.plan files for this machine; returns the manifest that names them.

    The manifest is written after every stage: a build that fails keeps those before.

    Args:
        directory: of the engine files.
        manifest: of the directory.
        config: of its checkpoint.
        device: GPU to build on and for.
        workspace_gib: scratch memory that kernels may take, None for all that is free.
        optimisation_level: 0 (quick) to 5 (thorough).
        progress: see `Progress`.

    Raises:
        EngineFilesError: TensorRT is not here, or refuses a file.

    """
    reason = unavailable()
    if reason is None and device.type != "cuda":
        reason = f"TensorRT needs a CUDA device, not {device}"
    if reason is not None:
        raise EngineFilesError(f"{directory}: nothing can be built here: {reason}")
    manifest.require_onnx(directory)
    # Importable only where TensorRT is.
    from groot_ros.runtime.tensorrt.build import BuildOptions, build_plan

    specs = stage_specs(config)
    options = BuildOptions(
        None if workspace_gib is None else int(workspace_gib * _GIB),
        optimisation_level,
        directory / _TIMING_CACHE,
    )
    for name, files in manifest.stages.items():
        path = directory / f"{Path(files.onnx).stem}.plan"

        def show(phase: str, fraction: float, stage: str = name) -> None:
            progress(f"{stage}: {phase}", fraction)

        try:
            machine = build_plan(
                directory / files.onnx,
                path,
                specs[name],
                DTYPES[manifest.precision],
                manifest.profile,
                device=device,
                options=options,
                progress=show,
            )
        except ValueError as error:
            raise EngineFilesError(f"stage '{name}': {error}") from error
        plan = Plan(path.name, file_digest(path), files.sha256, machine, manifest.profile, today())
        manifest = manifest.with_plan(name, plan)
        manifest.write(directory)
    (directory / MEASURED).unlink(missing_ok=True)
    return manifest
