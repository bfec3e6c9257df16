"""`groot-ros engine make`: the chain of all actions."""

import argparse
from pathlib import Path
from typing import Any

from groot_ros.cli.engine import benchmark, build, calibrate, export, validate
from groot_ros.cli.engine.opened import device_of
from groot_ros.cli.engine.options import (
    DEFAULT_QUANTISED,
    PROVEN_WITH,
    add_action,
    benchmark_options,
    build_options,
    engine_options,
    export_options,
    quantise_options,
    require_writable,
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

    # The directory itself is made by the export.
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
    """Before the export, which takes long."""
    if not args.quantise:
        if args.quantised_stages:
            raise ValueError("--quantised-stages needs --quantise: nothing would be quantised")
        return
    absent = [n for n in args.quantised_stages or DEFAULT_QUANTISED if n not in args.stages]
    if absent:
        raise ValueError(
            f"--quantise: stage '{absent[0]}' would not be exported ({', '.join(args.stages)} "
            "would): add it to --stages, or name others with --quantised-stages"
        )
