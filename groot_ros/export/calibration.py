# SPDX-License-Identifier: Apache-2.0
"""Quantise segments of an engine directory to 8 bits."""

from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from groot_ros.core.program import ModelInputs
from groot_ros.export.export_engine import Progress
from groot_ros.export.quantise import quantise
from groot_ros.export.ranges import calibrate, coverage
from groot_ros.export.reference_cases import describe_source
from groot_ros.families.family import Checkpoint
from groot_ros.runtime import TOLERANCES
from groot_ros.runtime.engine import EngineFilesError
from groot_ros.runtime.engine_benchmarks import ENGINE_BENCHMARKS
from groot_ros.runtime.manifest import Manifest, SegmentFiles, file_digest


def calibrate_files(
    directory: Path,
    manifest: Manifest,
    checkpoint: Checkpoint,
    inputs: Sequence[ModelInputs],
    source: str,
    *,
    kind: str,
    segments: Collection[str],
    method: str,
    device: torch.device,
    progress: Progress,
) -> list[str]:
    """Write SEGMENT.KIND.onnx next to the exported files, and name them in the manifest.

    Args:
        directory: engine directory.
        manifest: its manifest; the exported files are not changed.
        checkpoint: checkpoint that was exported.
        inputs: model inputs to calibrate with, including random ones.
        source: description of the observations' source, for the report.
        kind: "int8" or "fp8".
        segments: segments to quantise; others keep the precision of the export.
        method: see `ranges.calibrate`.
        device: device on which the calibration runs.
        progress: see `Progress`.

    Returns:
        One line per segment: the new file, the quantised products and the observations used.

    Raises:
        EngineFilesError: a segment was not exported.
        QuantiseError: an ONNX file is not the export of this checkpoint.

    """
    absent = [name for name in segments if name not in manifest.segments]
    if absent:
        export = manifest.export_command(directory, segments=(*manifest.segments, *absent))
        raise EngineFilesError(
            f"{directory}: segment '{absent[0]}' was not exported ({', '.join(manifest.segments)} "
            f"were); export it with: {export}"
        )
    program = checkpoint.load_program(device=device, dtype=torch.float32)
    products = calibrate(
        program,
        inputs,
        manifest.steps[0],
        method=method,
        progress=lambda fraction: progress("calibrating", fraction),
    )
    del program
    shares = coverage(products)
    lines = []
    for number, name in enumerate(segments):
        progress(f"quantising {name}", number / len(segments))
        exported, path = directory / f"{name}.onnx", directory / f"{name}.{kind}.onnx"
        count = quantise(exported, path, products[name], kind)
        manifest = manifest.with_segment(name, SegmentFiles(path.name, file_digest(path), kind))
        lines.append(
            f"{path}: {count} of {len(products[name])} products in {kind}, "
            f"{shares[name]:.0%} of their weights; {describe_source(len(inputs), source)}"
        )
    tolerance = max(manifest.tolerance, TOLERANCES[kind])
    replace(manifest, tolerance=tolerance).write(directory)
    (directory / ENGINE_BENCHMARKS).unlink(missing_ok=True)
    return lines
