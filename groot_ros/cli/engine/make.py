# SPDX-License-Identifier: Apache-2.0
"""`groot-ros engine make`: run all actions one after the other."""

import argparse
from pathlib import Path
from typing import Any

from groot_ros.cli.engine import benchmark, build, calibrate, export, validate
from groot_ros.cli.engine.common import (
    STORED,
    add_action,
    benchmark_options,
    build_options,
    device_of,
    engine_options,
    export_options,
    quantise_options,
    require_writable,
)
from groot_ros.cli.observations import add_source_options
from groot_ros.core import PolicyConfig


def add(actions: Any) -> None:
    """Add the parser of `engine make`."""
    parser = add_action(
        actions,
        "make",
        run,
        "export, calibrate on request, build where TensorRT can run, validate and benchmark",
        "--checkpoint ~/pick --embodiment new_embodiment --robot so101 --precision bfloat16",
    )
    export_options(parser)
    quantise_options(parser, required=False)
    build_options(parser)
    engine_options(parser)
    benchmark_options(parser)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures as JSON")
    add_source_options(parser, STORED)


def run(args: argparse.Namespace) -> int:
    """Run all actions; return the exit status of the validation."""
    from groot_ros.runtime.tensorrt import unavailable

    # The export creates the engine directory.
    if args.json is not None and args.json.parent != args.engine_directory:
        require_writable("--json", args.json, directory=False)
    _require_quantisable(args)
    benchmark.require_runs(args)
    export.run(args)
    if args.quantise:
        calibrate.run(args)
    reason = "the device is not a GPU" if device_of(args).type != "cuda" else unavailable()
    if reason is None:
        build.run(args)
    else:
        print(f"TensorRT engines are not built: {reason}")
    status = validate.run(args)
    benchmark.run(args)
    return status


def _require_quantisable(args: argparse.Namespace) -> None:
    """Check the options before the export, which takes long."""
    if not args.quantise:
        if args.quantised_segments:
            raise ValueError("--quantised-segments needs --quantise: nothing would be quantised")
        return
    from groot_ros.policy.loading import open_checkpoint

    checkpoint = open_checkpoint(
        PolicyConfig(
            checkpoint=args.checkpoint,
            embodiment=args.embodiment,
            backbone_assets=args.backbone_assets or "",
            base_checkpoint=args.base_checkpoint or "",
        )
    )
    exported = args.segments or checkpoint.program.names
    quantised = args.quantised_segments or checkpoint.quantised
    absent = [name for name in quantised if name not in exported]
    if absent:
        raise ValueError(
            f"--quantise: segment '{absent[0]}' would not be exported ({', '.join(exported)} "
            "would): add it to --segments, or name others with --quantised-segments"
        )
