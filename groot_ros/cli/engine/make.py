# SPDX-License-Identifier: Apache-2.0
"""`groot-ros engine make`: run all actions one after the other."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from groot_ros.cli.engine import benchmark, build, calibrate, export, validate
from groot_ros.cli.engine.common import (
    STORED,
    add_action,
    benchmark_options,
    build_options,
    compile_options,
    device_of,
    engine_options,
    export_options,
    quantise_options,
    require_segments,
    require_writable,
)
from groot_ros.cli.observations import add_source_options
from groot_ros.core import PolicyConfig
from groot_ros.runtime import PRECISIONS

if TYPE_CHECKING:
    from groot_ros.families.family import Checkpoint
    from groot_ros.runtime.torch_tensorrt.options import CompileOptions

#: Value of --precision for products in INT8 and everything else in bfloat16.
_INT8 = "int8"
_GIB = 2**30


def add(actions: Any) -> None:
    """Add the parser of `engine make`."""
    parser = add_action(
        actions,
        "make",
        run,
        "export, calibrate on request, build where TensorRT can run, validate and benchmark",
        "--checkpoint ~/pick --embodiment new_embodiment --robot so101 --precision bfloat16\n"
        "  groot-ros engine make --checkpoint ~/pick --embodiment new_embodiment "
        "--engine torch_tensorrt \\\n      --precision float16 --fp32-accumulation "
        "--timer cuda_event",
    )
    export_options(parser, (*PRECISIONS, _INT8))
    quantise_options(parser, required=False)
    build_options(parser)
    compile_options(parser)
    engine_options(parser)
    benchmark_options(parser)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures as JSON")
    add_source_options(parser, STORED)


def run(args: argparse.Namespace) -> int:
    """Run all actions; return the exit status of the validation."""
    # The export creates the engine directory.
    if args.json is not None and args.json.parent != args.engine_directory:
        require_writable("--json", args.json, directory=False)
    if args.precision == _INT8:
        if args.quantise not in (None, _INT8):
            raise ValueError(
                f"--precision int8 and --quantise {args.quantise} contradict each other"
            )
        args.precision, args.quantise = "bfloat16", _INT8
    compiles = "torch_tensorrt" in (args.engine or ())
    exports = not compiles or len(set(args.engine)) > 1
    checkpoint = _open_checkpoint(args)
    _require_quantisable(args, checkpoint)
    benchmark.require_runs(args)
    benchmark.require_timer(args)
    compiled = _compile_options(args, checkpoint) if compiles else None
    if not exports:
        args.segments = []
    export.run(args, compiled)
    if args.quantise and exports:
        calibrate.run(args)
    if exports:
        _build(args)
    status = validate.run(args)
    benchmark.run(args)
    return status


def _build(args: argparse.Namespace) -> None:
    from groot_ros.runtime.tensorrt import unavailable

    reason = "the device is not a GPU" if device_of(args).type != "cuda" else unavailable()
    if reason is None:
        build.run(args)
    else:
        print(f"TensorRT engines are not built: {reason}")


def _compile_options(args: argparse.Namespace, checkpoint: "Checkpoint") -> "CompileOptions":
    """Check before the export, which takes long, that Torch-TensorRT can run here."""
    from groot_ros.runtime.torch_tensorrt import unavailable
    from groot_ros.runtime.torch_tensorrt.options import CompileOptions

    device = device_of(args)
    reason = unavailable(quantised=bool(args.quantise))
    if device.type != "cuda":
        reason = f"needs a CUDA device, not {device}"
    if reason is not None:
        raise ValueError(f"engine 'torch_tensorrt': {reason}")
    names = checkpoint.program.names
    return CompileOptions(
        segments=tuple(name for name in names if name in (args.segments or names)),
        explicit_typing=args.explicit_typing,
        fp32_accumulation=args.fp32_accumulation,
        quantise=args.quantise or "",
        quantised=tuple(args.quantised_segments or checkpoint.quantised) if args.quantise else (),
        optimisation_level=args.optimisation_level,
        workspace_bytes=int((args.workspace or 0) * _GIB),
    )


def _open_checkpoint(args: argparse.Namespace) -> "Checkpoint":
    from groot_ros.policy.loading import open_checkpoint

    return open_checkpoint(
        PolicyConfig(
            checkpoint=args.checkpoint,
            embodiment=args.embodiment,
            backbone_assets=args.backbone_assets or "",
            base_checkpoint=args.base_checkpoint or "",
        )
    )


def _require_quantisable(args: argparse.Namespace, checkpoint: "Checkpoint") -> None:
    """Check the options before the export, which takes long."""
    require_segments("--segments", args.segments, checkpoint)
    if not args.quantise:
        if args.quantised_segments:
            raise ValueError("--quantised-segments needs --quantise: nothing would be quantised")
        return
    exported = args.segments or checkpoint.program.names
    quantised = args.quantised_segments or checkpoint.quantised
    absent = [name for name in quantised if name not in exported]
    if absent:
        raise ValueError(
            f"--quantise: segment '{absent[0]}' would not be exported ({', '.join(exported)} "
            "would): add it to --segments, or name others with --quantised-segments"
        )
