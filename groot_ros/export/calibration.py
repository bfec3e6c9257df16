"""Stages of an engine directory to 8 bits."""

from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from groot_ros.export.pipeline import Progress
from groot_ros.export.quantise import quantise
from groot_ros.export.ranges import calibrate, coverage
from groot_ros.processing import ModelInputs
from groot_ros.runtime.checkpoint_parts import CheckpointParts
from groot_ros.runtime.errors import EngineFilesError
from groot_ros.runtime.gr00t_n1d6 import load_fast
from groot_ros.runtime.manifest import Manifest, StageFiles, file_digest
from groot_ros.runtime.measured import MEASURED
from groot_ros.runtime.oracle import TOLERANCES


def calibrate_files(
    directory: Path,
    manifest: Manifest,
    parts: CheckpointParts,
    inputs: Sequence[ModelInputs],
    source: str,
    *,
    kind: str,
    stages: Collection[str],
    method: str,
    device: torch.device,
    progress: Progress,
) -> list[str]:
    """Write STAGE.KIND.onnx beside the exported files and the manifest that names them.

    Args:
        directory: of the engine files.
        manifest: of the directory; its exported files stay as they are.
        parts: of its checkpoint.
        inputs: batches of one to calibrate with.
        source: where they come from, in words.
        kind: "int8" or "fp8".
        stages: to be quantised; others keep the precision of the export.
        method: see `ranges.calibrate`.
        device: where the calibration runs.
        progress: see `Progress`.

    Returns:
        One line a stage: what was done.

    Raises:
        EngineFilesError: a stage was not exported.

    """
    absent = [name for name in stages if name not in manifest.stages]
    if absent:
        export = manifest.export_command(directory, stages=(*manifest.stages, *absent))
        raise EngineFilesError(
            f"{directory}: stage '{absent[0]}' was not exported ({', '.join(manifest.stages)} "
            f"were); export it with: {export}"
        )
    fast = load_fast(
        parts.directory, parts.config, embodiment=parts.processor.embodiment_id, device=device
    )
    products = calibrate(
        fast,
        inputs,
        manifest.steps[0],
        method=method,
        progress=lambda fraction: progress("calibrating", fraction),
    )
    del fast
    shares = coverage(products)
    lines = []
    for number, name in enumerate(stages):
        progress(f"quantising {name}", number / len(stages))
        plain, path = directory / f"{name}.onnx", directory / f"{name}.{kind}.onnx"
        count = quantise(plain, path, products[name], kind)
        manifest = manifest.with_stage(name, StageFiles(path.name, file_digest(path), kind))
        lines.append(
            f"{path}: {count} of {len(products[name])} products in {kind}, "
            f"{shares[name]:.0%} of their weights; {len(inputs)} observations from {source}"
        )
    tolerance = max(manifest.tolerance, TOLERANCES[kind])
    replace(manifest, tolerance=tolerance).write(directory)
    (directory / MEASURED).unlink(missing_ok=True)
    return lines
