# SPDX-License-Identifier: Apache-2.0
"""Export a checkpoint to a directory of ONNX files, reference outputs and a manifest."""

import importlib.metadata
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from groot_ros import __version__
from groot_ros.core import Observation
from groot_ros.core.program import Range
from groot_ros.export.onnx_file import OPSET, export_segment
from groot_ros.export.reference_cases import largest_difference, make_reference_outputs
from groot_ros.families.family import Checkpoint
from groot_ros.policy import Policy
from groot_ros.runtime import largest_rounding, tolerance_for
from groot_ros.runtime.device import DTYPES
from groot_ros.runtime.engine import EngineFilesError
from groot_ros.runtime.engine_benchmarks import ENGINE_BENCHMARKS, today
from groot_ros.runtime.engines import LoadRequest, get_engine
from groot_ros.runtime.manifest import Manifest, SegmentFiles, file_digest
from groot_ros.runtime.reference_outputs import ReferenceOutputs
from groot_ros.runtime.torch_tensorrt.options import CompileOptions

#: Called with the name of the current step and the fraction of it that is done.
Progress = Callable[[str, float], None]


@dataclass(frozen=True)
class ExportOptions:
    """Options of the export.

    Attributes:
        precision: element type of weights and tensors, one of `runtime.PRECISIONS`.
        segments: segments to export, all if None; PyTorch executes the others.
        attention: see `export_segment`.
        steps: numbers of denoising steps to store reference outputs for.
        image_sizes: (height, width) of the cameras for which the profile was made.
        torch_tensorrt: options of the engine "torch_tensorrt", None if it was not requested.

    """

    precision: str = "float32"
    segments: Collection[str] | None = None
    attention: str = "math"
    steps: tuple[int, ...] = (4,)
    image_sizes: Sequence[tuple[int, int]] = ()
    torch_tensorrt: CompileOptions | None = None


def export_engine(
    policy: Policy,
    observations: Sequence[Observation],
    source: str,
    profile: Mapping[str, Range],
    directory: Path,
    options: ExportOptions,
    progress: Progress,
    *,
    device: torch.device,
    backbone_assets: str = "",
    base_checkpoint: str = "",
) -> Manifest:
    """Write ONNX files, reference outputs and the manifest to an engine directory.

    TensorRT engines are built from them later, on the target machine.

    Args:
        policy: policy that runs the reference model in float32; it is closed when its outputs are
            computed, to free its memory.
        observations: observations with which engines are validated.
        source: description of the observations' source.
        profile: free dimension -> its sizes.
        directory: engine directory to write.
        options: see `ExportOptions`.
        progress: see `Progress`.
        device: device of the weights during the export.
        backbone_assets: stored in the manifest for later commands.
        base_checkpoint: stored in the manifest for later commands.

    Raises:
        EngineFilesError: the reference model overflows in this precision, or its error is too
            large.

    """
    directory.mkdir(parents=True, exist_ok=True)
    checkpoint = policy.checkpoint
    reference = make_reference_outputs(
        policy,
        observations,
        options.steps,
        source=source,
        progress=lambda fraction: progress("reference outputs", fraction),
    )
    policy.close()
    rounding = _rounding(policy, reference, options, device, progress)
    compiled = options.torch_tensorrt
    quantised = () if compiled is None else (compiled.quantise,)
    manifest = Manifest(
        family=checkpoint.spec.family,
        checkpoint=str(checkpoint.path.resolve()),
        checkpoint_sha256=policy.checkpoint_hash,
        embodiment=checkpoint.spec.embodiment,
        precision=options.precision,
        steps=options.steps,
        attention=options.attention,
        opset=OPSET,
        tolerance=tolerance_for(options.precision, rounding, quantised),
        rounding=rounding,
        reference_sha256=reference.save(directory),
        profile=profile,
        segments=_export_segments(checkpoint, directory, options, device, progress),
        date=today(),
        backbone_assets=backbone_assets,
        base_checkpoint=base_checkpoint,
        image_sizes=tuple(f"{height}x{width}" for height, width in options.image_sizes),
        versions=_versions(),
        torch_tensorrt=compiled,
    )
    manifest.write(directory)
    (directory / ENGINE_BENCHMARKS).unlink(missing_ok=True)
    return manifest


def _export_segments(
    checkpoint: Checkpoint,
    directory: Path,
    options: ExportOptions,
    device: torch.device,
    progress: Progress,
) -> dict[str, SegmentFiles]:
    """Export the segments one after the other, so that only one is in memory."""
    program = checkpoint.program
    chosen = program.names if options.segments is None else options.segments
    names = [name for name in program.names if name in chosen]
    files = {}
    for number, name in enumerate(names):
        progress(f"export of {name}", number / len(names))
        loaded = checkpoint.load_program(
            device=device, dtype=DTYPES[options.precision], segments=[name]
        )
        path = directory / f"{name}.onnx"
        export_segment(
            loaded.modules[name],
            program,
            name,
            path,
            precision=options.precision,
            attention=options.attention,
        )
        files[name] = SegmentFiles(path.name, file_digest(path))
        progress(f"export of {name}", (number + 1) / len(names))
    return files


def _rounding(
    policy: Policy,
    reference: ReferenceOutputs,
    options: ExportOptions,
    device: torch.device,
    progress: Progress,
) -> float:
    """Return the error of the reference model in this precision, normalised; 0 for float32."""
    if options.precision == "float32":
        return 0.0
    what = f"reference model in {options.precision}"
    progress(what, 0.0)
    checkpoint = policy.checkpoint
    request = LoadRequest(checkpoint, device, DTYPES[options.precision])
    engine = get_engine("reference").load(request)
    rounding = largest_difference(policy, engine, reference, options.steps)
    engine.close()
    progress(what, 1.0)
    if rounding == float("inf"):
        raise EngineFilesError(
            f"{checkpoint.path}: in {options.precision} the reference model computes values that "
            "are not finite (float16 ends at 65504); export in bfloat16"
        )
    most = largest_rounding(options.precision)
    if rounding > most:
        raise EngineFilesError(
            f"{checkpoint.path}: in {options.precision} the reference model itself is wrong by "
            f"{rounding:.2g} in normalised units, more than {most:.2g}: that would validate "
            "nothing; export in float32, or with --observations of the robot"
        )
    return rounding


def _versions() -> dict[str, str]:
    names = ("torch", "onnx", "onnxscript")
    return {"groot_ros": __version__, **{name: importlib.metadata.version(name) for name in names}}
