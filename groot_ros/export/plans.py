# SPDX-License-Identifier: Apache-2.0
"""Build TensorRT engines for every segment of an engine directory."""

from pathlib import Path

import torch

from groot_ros.core.program import ProgramSpec
from groot_ros.export.export_engine import Progress
from groot_ros.runtime.device import DTYPES
from groot_ros.runtime.engine import EngineFilesError
from groot_ros.runtime.engine_benchmarks import ENGINE_BENCHMARKS, today
from groot_ros.runtime.manifest import Manifest, Plan, file_digest
from groot_ros.runtime.tensorrt import unavailable

_GIB = 2**30
_TIMING_CACHE = "timing.cache"


def build_plans(
    directory: Path,
    manifest: Manifest,
    program: ProgramSpec,
    *,
    device: torch.device,
    workspace_gib: float | None = None,
    optimisation_level: int = 3,
    progress: Progress,
) -> Manifest:
    """Build SEGMENT.plan files for this machine; return the manifest that names them.

    The manifest is written after every segment, so that a failed build keeps the earlier ones.

    Args:
        directory: engine directory.
        manifest: its manifest.
        program: specification of the exported program.
        device: GPU to build on and for.
        workspace_gib: largest scratch memory of a kernel, GiB; None for all free memory.
        optimisation_level: 0 (quick) to 5 (thorough).
        progress: see `Progress`.

    Raises:
        EngineFilesError: TensorRT cannot run on this machine, or a segment cannot be built.

    """
    reason = unavailable()
    if reason is None and device.type != "cuda":
        reason = f"TensorRT needs a CUDA device, not {device}"
    if reason is not None:
        raise EngineFilesError(f"{directory}: nothing can be built here: {reason}")
    manifest.require_onnx(directory)
    # Can be imported only if TensorRT is installed.
    from groot_ros.runtime.tensorrt.build import BuildOptions, build_plan

    options = BuildOptions(
        None if workspace_gib is None else int(workspace_gib * _GIB),
        optimisation_level,
        directory / _TIMING_CACHE,
    )
    for name, files in manifest.segments.items():
        path = directory / f"{Path(files.onnx).stem}.plan"

        def show(phase: str, fraction: float, segment: str = name) -> None:
            progress(f"{segment}: {phase}", fraction)

        try:
            machine = build_plan(
                directory / files.onnx,
                path,
                program.segment(name),
                DTYPES[manifest.precision],
                manifest.profile,
                device=device,
                options=options,
                progress=show,
            )
        except ValueError as error:
            raise EngineFilesError(f"segment '{name}': {error}") from error
        plan = Plan(path.name, file_digest(path), files.sha256, machine, manifest.profile, today())
        manifest = manifest.with_plan(name, plan)
        manifest.write(directory)
    (directory / ENGINE_BENCHMARKS).unlink(missing_ok=True)
    return manifest
