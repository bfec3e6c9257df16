# SPDX-License-Identifier: Apache-2.0
"""`groot-ros engine build`: TensorRT engines from the ONNX files."""

import argparse
from typing import Any

from groot_ros.cli.engine.common import (
    add_action,
    build_options,
    device_of,
    directory_options,
    open_checkpoint,
    open_manifest,
    progress_bar,
)


def add(actions: Any) -> None:
    """Add the parser of `engine build`."""
    parser = add_action(
        actions,
        "build",
        run,
        "build TensorRT engines from the ONNX files, on this machine and for it",
        "--engine-directory engines/pick",
    )
    directory_options(parser)
    build_options(parser)


def run(args: argparse.Namespace) -> int:
    """Build TensorRT engines; raises EngineFilesError if TensorRT cannot run on this machine."""
    from groot_ros.export.plans import build_plans

    manifest = open_manifest(args)
    with progress_bar() as show:
        built = build_plans(
            args.engine_directory,
            manifest,
            open_checkpoint(args, manifest).program,
            device=device_of(args),
            workspace_gib=args.workspace,
            optimisation_level=args.optimisation_level,
            progress=show,
        )
    for name, files in built.segments.items():
        assert files.plan is not None
        print(f"{args.engine_directory / files.plan.file}: segment {name}, {files.plan.machine}")
    return 0
