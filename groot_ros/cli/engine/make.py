"""`groot-ros engine make`: the chain of all actions."""

import argparse
from pathlib import Path
from typing import Any

from groot_ros.cli.engine import benchmark, build, calibrate, export, validate
from groot_ros.cli.engine.opened import device_of
from groot_ros.cli.engine.options import (
    PROVEN_WITH,
    add_action,
    benchmark_options,
    build_options,
    engine_options,
    export_options,
    quantise_options,
)
from groot_ros.cli.observations import add_source_options


def add(actions: Any) -> None:
    """Add the action."""
    parser = add_action(
        actions,
        "make",
        run,
        "export, calibrate where asked for, build where TensorRT is, validate and measure",
        "--checkpoint ~/pick --embodiment new_embodiment --robot so101 --precision bfloat16",
    )
    export_options(parser)
    quantise_options(parser, required=False)
    build_options(parser)
    engine_options(parser)
    benchmark_options(parser)
    parser.add_argument("--json", type=Path, metavar="FILE", help="the figures for a program")
    add_source_options(parser, PROVEN_WITH)


def run(args: argparse.Namespace) -> int:
    """The chain; the status of the validation."""
    from groot_ros.runtime.tensorrt import unavailable

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
