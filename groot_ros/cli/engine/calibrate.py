# SPDX-License-Identifier: Apache-2.0
"""`groot-ros engine calibrate`: quantise exported segments to INT8 or FP8."""

import argparse
from typing import Any

from groot_ros.cli.engine.common import (
    CALIBRATED_WITH,
    add_action,
    device_of,
    directory_options,
    failures_of,
    open_manifest,
    open_policy,
    progress_bar,
    quantise_options,
    require_installed,
    require_segments,
)
from groot_ros.cli.observations import add_source_options, gather, require_source


def add(actions: Any) -> None:
    """Add the parser of `engine calibrate`."""
    parser = add_action(
        actions,
        "calibrate",
        run,
        "quantise products of exported segments to INT8 or FP8, with Q/DQ pairs in the ONNX files",
        "--engine-directory engines/pick --quantise int8 --bag ~/bags/run1 --robot so101",
    )
    directory_options(parser)
    quantise_options(parser, required=True)
    add_source_options(parser, CALIBRATED_WITH)


def run(args: argparse.Namespace) -> int:
    """Quantise segments of an engine directory; print a line per segment."""
    require_installed("onnx")
    from groot_ros.export.calibration import calibrate_files

    require_source(args)
    manifest = open_manifest(args)
    policy = open_policy(args, manifest, "torch", validated=False, dtype="float32")
    checkpoint = policy.checkpoint
    require_segments("--segments", args.quantised_segments, checkpoint)
    observations, source = gather(args, policy)
    inputs = [
        {**policy.encode(observation)[0], **checkpoint.processor.draw(number)}
        for number, observation in enumerate(observations)
    ]
    policy.close()
    with failures_of("calibration"), progress_bar() as show:
        report = calibrate_files(
            args.engine_directory,
            manifest,
            checkpoint,
            inputs,
            source,
            kind=args.quantise,
            segments=args.quantised_segments or checkpoint.quantised,
            method=args.method,
            device=device_of(args),
            progress=show,
        )
    print("\n".join(report))
    return 0
