"""`groot-ros engine build`: TensorRT engines from the ONNX files."""

import argparse
from typing import Any

from groot_ros.cli.engine.opened import device_of, open_manifest, open_parts
from groot_ros.cli.engine.options import add_action, build_options, directory_options
from groot_ros.cli.engine.progress import bars


def add(actions: Any) -> None:
    """Add the action."""
    parser = add_action(
        actions,
        "build",
        run,
        "TensorRT engines from the ONNX files, on and for this very machine",
        "--engine-directory engines/pick",
    )
    directory_options(parser)
    build_options(parser)


def run(args: argparse.Namespace) -> int:
    """Build TensorRT engines; 2 where TensorRT is not."""
    from groot_ros.export.plans import build_plans

    manifest = open_manifest(args)
    with bars() as show:
        built = build_plans(
            args.engine_directory,
            manifest,
            open_parts(args, manifest).config,
            device=device_of(args),
            workspace_gib=args.workspace,
            optimisation_level=args.optimisation_level,
            progress=show,
        )
    for name, files in built.stages.items():
        assert files.plan is not None
        print(f"{args.engine_directory / files.plan.file}: stage {name}, {files.plan.machine}")
    return 0
