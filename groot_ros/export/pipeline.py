"""A checkpoint to a directory of ONNX files, stored answers and a manifest."""

import importlib.metadata
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from groot_ros import __version__
from groot_ros.core import Observation
from groot_ros.export.cases import largest_difference, make_oracle
from groot_ros.export.onnx_file import OPSET, export_stage
from groot_ros.policy import Policy
from groot_ros.runtime.checkpoint_parts import CheckpointParts
from groot_ros.runtime.contract import stage_specs
from groot_ros.runtime.engines import load_engine
from groot_ros.runtime.errors import EngineFilesError
from groot_ros.runtime.gr00t_n1d6 import load_fast
from groot_ros.runtime.manifest import Manifest, Range, StageFiles, file_digest
from groot_ros.runtime.measured import MEASURED, today
from groot_ros.runtime.names import STAGES
from groot_ros.runtime.oracle import ReferenceOutputs
from groot_ros.runtime.precision import DTYPES
from groot_ros.runtime.tolerances import largest_rounding, tolerance_for

#: Called with what is being done and the fraction of it that is done.
Progress = Callable[[str, float], None]


@dataclass(frozen=True)
class ExportOptions:
    """What to export.

    Attributes:
        precision: of weights and tensors, one of `names.PRECISIONS`.
        stages: those of `STAGES` that become files; PyTorch runs the others.
        attention: see `export_stage`.
        steps: numbers of denoising steps to be proven.
        image_sizes: (height, width) of the cameras that the profile is for.

    """

    precision: str = "float32"
    stages: Collection[str] = STAGES
    attention: str = "by_hand"
    steps: tuple[int, ...] = (4,)
    image_sizes: Sequence[tuple[int, int]] = ()


def export_engine(
    policy: Policy,
    parts: CheckpointParts,
    observations: Sequence[Observation],
    source: str,
    profile: Mapping[str, Range],
    directory: Path,
    options: ExportOptions,
    progress: Progress,
    *,
    device: torch.device,
    backbone_assets: str = "",
) -> Manifest:
    """Write everything that an engine needs but what is built on the target.

    Args:
        policy: runs the plain form of the checkpoint in float32; it is closed as soon as its
            answers are stored, for its memory.
        parts: of the same checkpoint.
        observations: to prove engines with.
        source: where they come from, in words.
        profile: sizes of the free dimensions.
        directory: that is written to.
        options: see there.
        progress: see `Progress`.
        device: where the weights are while they are exported.
        backbone_assets: as given, for later.

    Raises:
        EngineFilesError: the checkpoint overflows in this precision, or loses too much.

    """
    directory.mkdir(parents=True, exist_ok=True)
    used = policy.horizon, sum(policy.action_groups.values())
    oracle = make_oracle(
        policy,
        observations,
        options.steps,
        source=source,
        progress=lambda fraction: progress("answers of the plain form", fraction),
    )
    policy.close()
    rounding = _rounding(parts, oracle, used, options, device, progress)
    manifest = Manifest(
        checkpoint=str(parts.directory.resolve()),
        checkpoint_sha256=policy.checkpoint_hash,
        embodiment=policy.embodiment,
        precision=options.precision,
        steps=options.steps,
        attention=options.attention,
        opset=OPSET,
        tolerance=tolerance_for(options.precision, rounding),
        rounding=rounding,
        oracle_sha256=oracle.save(directory),
        profile=profile,
        stages=_export_stages(parts, directory, options, device, progress),
        date=today(),
        backbone_assets=backbone_assets,
        image_sizes=tuple(f"{height}x{width}" for height, width in options.image_sizes),
        versions=_versions(),
    )
    manifest.write(directory)
    (directory / MEASURED).unlink(missing_ok=True)
    return manifest


def _export_stages(
    parts: CheckpointParts,
    directory: Path,
    options: ExportOptions,
    device: torch.device,
    progress: Progress,
) -> dict[str, StageFiles]:
    """One stage after the other, so that only one is in memory."""
    specs = stage_specs(parts.config)
    wanted = [name for name in STAGES if name in options.stages]
    files = {}
    for number, name in enumerate(wanted):
        progress(f"export of {name}", number / len(wanted))
        fast = load_fast(
            parts.directory,
            parts.config,
            embodiment=parts.processor.embodiment_id,
            device=device,
            dtype=DTYPES[options.precision],
            stages=[name],
        )
        path = directory / f"{name}.onnx"
        export_stage(
            fast.modules[name],
            specs[name],
            path,
            square=parts.config.eagle.shuffle**2,
            precision=options.precision,
            attention=options.attention,
        )
        files[name] = StageFiles(path.name, file_digest(path))
        progress(f"export of {name}", (number + 1) / len(wanted))
    return files


def _rounding(
    parts: CheckpointParts,
    oracle: ReferenceOutputs,
    used: tuple[int, int],
    options: ExportOptions,
    device: torch.device,
    progress: Progress,
) -> float:
    """What the precision alone changes in the plain form's answers; 0 for float32."""
    if options.precision == "float32":
        return 0.0
    what = f"the plain form in {options.precision}"
    progress(what, 0.0)
    engine = load_engine(
        "plain",
        parts.directory,
        parts.config,
        embodiment=parts.processor.embodiment_id,
        device=device,
        dtype=DTYPES[options.precision],
    )
    rounding = largest_difference(engine, oracle, options.steps, used)
    engine.close()
    progress(what, 1.0)
    if rounding == float("inf"):
        raise EngineFilesError(
            f"{parts.directory}: in {options.precision} the plain form itself gives values that "
            "are not finite (float16 ends at 65504); export in bfloat16"
        )
    most = largest_rounding(options.precision)
    if rounding > most:
        raise EngineFilesError(
            f"{parts.directory}: in {options.precision} the plain form itself loses {rounding:.2g} "
            f"in normalised units, more than {most:.2g}: nothing could be proven with that; export "
            "in float32, or with --observations of the robot"
        )
    return rounding


def _versions() -> dict[str, str]:
    names = ("torch", "onnx", "onnxscript")
    return {"groot_ros": __version__, **{name: importlib.metadata.version(name) for name in names}}
