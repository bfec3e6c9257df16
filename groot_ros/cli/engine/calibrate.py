"""`groot-ros engine calibrate`: products of exported stages to INT8 or FP8."""

import argparse
from typing import Any

from groot_ros.cli.engine.opened import (
    device_of,
    failures_of,
    open_manifest,
    open_parts,
    open_policy,
    require_installed,
)
from groot_ros.cli.engine.options import (
    CALIBRATED_WITH,
    DEFAULT_QUANTISED,
    add_action,
    directory_options,
    quantise_options,
)
from groot_ros.cli.engine.progress import bars
from groot_ros.cli.observations import add_source_options, gather, require_source


def add(actions: Any) -> None:
    """Add the action."""
    parser = add_action(
        actions,
        "calibrate",
        run,
        "products of exported stages to INT8 or FP8, by Q/DQ pairs in the ONNX files",
        "--engine-directory engines/pick --quantise int8 --bag ~/bags/run1 --robot so101",
    )
    directory_options(parser)
    quantise_options(parser, required=True)
    add_source_options(parser, CALIBRATED_WITH)


def run(args: argparse.Namespace) -> int:
    """Quantise stages of an engine directory."""
    require_installed("onnx")
    from groot_ros.export.calibration import calibrate_files

    require_source(args)
    manifest = open_manifest(args)
    policy = open_policy(args, manifest, "torch", proven=False, dtype="float32")
    observations, source = gather(args, policy)
    inputs = [policy.encode(observation)[0] for observation in observations]
    parts, device = open_parts(args, manifest), device_of(args)
    policy.close()
    with failures_of("calibration"), bars() as show:
        report = calibrate_files(
            args.engine_directory,
            manifest,
            parts,
            inputs,
            source,
            kind=args.quantise,
            stages=args.quantised_stages or DEFAULT_QUANTISED,
            method=args.method,
            device=device,
            progress=show,
        )
    print("\n".join(report))
    return 0
